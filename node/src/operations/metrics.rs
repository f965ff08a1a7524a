//! The process's metrics recorder and its Prometheus text.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds of all duration histograms, in seconds: Prometheus's usual ones, and three
/// below them, since a simulation or a commit takes less than 5 ms.
const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

static RECORDER: OnceLock<Metrics> = OnceLock::new();

/// The process's metrics; clones are the same.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Makes a Prometheus recorder the process's recorder, once; later calls give the
    /// same. Counts made before the first call are lost, so it is called first of all.
    pub fn install() -> Self {
        RECORDER
            .get_or_init(|| {
                let builder =
                    PrometheusBuilder::new().set_buckets(&BUCKETS_SECONDS).expect("the list of buckets is not empty");
                let recorder = builder.build_recorder();
                let handle = recorder.handle();
                if metrics::set_global_recorder(recorder).is_err() {
                    tracing::warn!("this process has a metrics recorder of its own; /metrics stays empty");
                }
                Self(handle)
            })
            .clone()
    }

    /// All metrics as Prometheus text.
    pub fn text(&self) -> String {
        self.0.render()
    }

    pub(super) fn fold(&self) {
        self.0.run_upkeep();
    }

    pub(super) fn say_version(&self, version: &str) {
        metrics::gauge!("fabric_version", "version" => version.to_owned()).set(1.0);
    }
}
