//! The gRPC health service (`grpc.health.v1.Health`, Check and Watch).
//!
//! The service is `tonic-health`'s; here stands how a node uses it: the empty name is the
//! node itself, every served service has its own name.

use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// Sets what the health service answers; clones set the same answers.
#[derive(Clone, Debug, Default)]
pub struct Serving(HealthReporter);

/// The health service to add to a node's routes, and the handle that sets its answers.
/// The node itself (the empty name) is `SERVING` from the start.
pub fn service() -> (Serving, HealthServer<HealthService>) {
    let reporter = HealthReporter::new();
    let service = HealthService::from_health_reporter(reporter.clone());
    (Serving(reporter), HealthServer::new(service))
}

impl Serving {
    /// Says of `service` (full name such as `gateway.Gateway`, empty for the node) whether
    /// it serves.
    pub async fn set(&self, service: &str, serving: bool) {
        let status =
            if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        self.0.set_service_status(service, status).await;
    }
}
