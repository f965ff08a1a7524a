//! Running a proposal's chaincode, and the chaincodes that it calls, on one height.
//!
//! A callee on the caller's channel notes its reads and writes in the same simulator,
//! under its own namespace. On another channel it reads that channel's newest height, and
//! what it reads and writes there is thrown away. One chaincode process runs a transaction
//! once at a time on a channel, so a chaincode that comes back to itself is refused.
//! Source: Fabric `core/chaincode/{handler,chaincode_support}.go`.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use metrics::Label;
use prost::Message;
use ripstop_ledger::Simulator;
use ripstop_proto::composite_key::INITIALIZED_KEY;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeInput, ChaincodeMessage, ChaincodeSpec, Response};

use super::admission::Admitted;
use super::answer::Executed;
use super::{Endorser, executed, is_system_chaincode, not_defined, refused};
use crate::access;
use crate::chaincode::callees::{CalleeName, Callees};
use crate::chaincode::host::{Call, Outcome};
use crate::channel::Channel;
use crate::lifecycle;
use crate::lifecycle::invocable::Invocable;

/// What a chaincode needs on the callee's channel to be called from another chaincode.
const RESOURCE: &str = "peer/ChaincodeToChaincode";
/// Calls within calls; each holds a stream's place and, on another channel, a simulator.
const DEPTH_MAX: usize = 16;

/// One chaincode of a transaction: the one that the client named, or one that was called.
pub(super) struct Simulation<'a> {
    endorser: &'a Endorser,
    admitted: &'a Admitted,
    channel: &'a Channel,
    /// 0 for the one that the client named.
    depth: usize,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(endorser: &'a Endorser, admitted: &'a Admitted, channel: &'a Channel) -> Self {
        Self { endorser, admitted, channel, depth: 0 }
    }

    /// Runs what the client named.
    pub(super) async fn run(&self) -> Result<Executed, String> {
        let (name, channel_id) = (self.admitted.chaincode(), self.channel.id());
        let mut simulator = self.channel.ledger().simulator();
        let invocable = self.endorser.invocables.find(channel_id, name, &mut simulator);
        let invocable = invocable.map_err(|cause| not_defined(name, channel_id, &cause.to_string()))?;
        let outcome = self.execute(&invocable, &mut simulator).await.map_err(|cause| {
            let labels = ["channel", "chaincode"].into_iter().zip([channel_id, name]);
            let labels: Vec<_> = labels.map(|(label, value)| Label::new(label, value.to_owned())).collect();
            metrics::counter!("endorser_proposal_simulation_failures", labels).increment(1);
            format!("error in simulation: {cause}")
        })?;
        let executed = executed(outcome.response, simulator.finish(), &invocable.version)?;
        Ok(Executed { event: outcome.event, ..executed })
    }

    async fn execute(&self, invocable: &Invocable, simulator: &mut Simulator) -> Result<Outcome, String> {
        let (chaincode, input) = (self.admitted.chaincode(), &self.admitted.proposal.input);
        let tx_id = self.admitted.tx_id();
        check_init(chaincode, invocable, input.is_init, simulator)
            .map_err(|cause| format!("failed to execute transaction {tx_id}: invalid invocation: {cause}"))?;
        let call = self.call(chaincode, invocable, input);
        self.endorser.host.execute(call, simulator).await.map_err(|cause| cause.to_string())
    }

    fn call<'b>(&'b self, chaincode: &'b str, invocable: &'b Invocable, input: &'b ChaincodeInput) -> Call<'b> {
        Call {
            package_id: &invocable.package_id,
            chaincode,
            channel_id: self.channel.id(),
            tx_id: self.admitted.tx_id(),
            application: self.channel.config().capabilities().application,
            input,
            proposal: &self.admitted.signed,
            callees: self,
        }
    }

    /// Checks who may call what, and runs it.
    async fn run_callee(&self, spec: ChaincodeSpec, simulator: &mut Simulator) -> Result<ChaincodeMessage, String> {
        let id = spec.chaincode_id.ok_or("the request names no chaincode")?;
        let name = CalleeName::parse(&id.name);
        if self.depth >= DEPTH_MAX {
            return Err(format!(
                "chaincode {} is called {} calls deep, at most {DEPTH_MAX} are allowed: call fewer within one another",
                name.chaincode,
                self.depth + 1
            ));
        }
        let input = spec.input.unwrap_or_default();
        let elsewhere = match name.channel_id.filter(|id| *id != self.channel.id()) {
            Some(channel_id) => Some(self.other_channel(channel_id)?),
            None => None,
        };
        let channel = elsewhere.as_deref().unwrap_or(self.channel);
        if !is_system_chaincode(name.chaincode) {
            access::check_channel(&channel.config(), RESOURCE, &self.admitted.signed_bytes())
                .map_err(|denied| denied.to_string())?;
        }
        let callee = Simulation { channel, depth: self.depth + 1, ..*self };
        let end = match &elsewhere {
            Some(channel) => callee.run_called(name.chaincode, &input, &mut channel.ledger().simulator()).await,
            None => callee.run_called(name.chaincode, &input, simulator).await,
        };
        end.map_err(|cause| format!("execute failed: {cause}"))
    }

    fn other_channel(&self, channel_id: &str) -> Result<Arc<Channel>, String> {
        let channel = self.endorser.channels.get(channel_id);
        channel.ok_or_else(|| {
            format!("failed to find ledger for channel: {channel_id}: this peer has to join it before chaincode can call there")
        })
    }

    async fn run_called(
        &self,
        chaincode: &str,
        input: &ChaincodeInput,
        simulator: &mut Simulator,
    ) -> Result<ChaincodeMessage, String> {
        if is_system_chaincode(chaincode) {
            return Ok(self.completed(self.run_system(chaincode, input, simulator)));
        }
        let channel_id = self.channel.id();
        let invalid = |cause: String| format!("invalid invocation: {cause}");
        let invocable = self.endorser.invocables.find(channel_id, chaincode, simulator).map_err(|cause| {
            invalid(format!("[channel {channel_id}] failed to get chaincode container info for {chaincode}: {cause}"))
        })?;
        check_init(chaincode, &invocable, input.is_init, simulator).map_err(invalid)?;
        let call = self.call(chaincode, &invocable, input);
        self.endorser.host.run(&call, simulator).await.map_err(|cause| cause.to_string())
    }

    /// Chaincodes of the peer: only the lifecycle may be called from a contract.
    fn run_system(&self, chaincode: &str, input: &ChaincodeInput, simulator: &mut Simulator) -> Response {
        let name = self.admitted.chaincode();
        match chaincode {
            lifecycle::NAMESPACE => {
                let config = self.channel.config();
                let on_channel = Some((&*config, simulator));
                self.endorser.lifecycle.invoke(&input.args, &self.admitted.signed_bytes(), on_channel)
            }
            "qscc" => refused(format!(
                "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '{name}'"
            )),
            "cscc" => {
                refused(format!("Rejecting invoke of CSCC from another chaincode, original invocation for '{name}'"))
            }
            other => refused(format!("chaincode {other} is not supported by this version")),
        }
    }

    fn completed(&self, response: Response) -> ChaincodeMessage {
        ChaincodeMessage {
            r#type: Type::Completed.into(),
            payload: response.encode_to_vec().into(),
            txid: self.admitted.tx_id().to_owned(),
            channel_id: self.channel.id().to_owned(),
            ..ChaincodeMessage::default()
        }
    }
}

impl Callees for Simulation<'_> {
    fn call<'a>(
        &'a self,
        spec: ChaincodeSpec,
        simulator: &'a mut Simulator,
    ) -> BoxFuture<'a, Result<ChaincodeMessage, String>> {
        self.run_callee(spec, simulator).boxed()
    }
}

/// A chaincode that asks for it is initialized once per version, before anything else.
fn check_init(name: &str, invocable: &Invocable, is_init: bool, simulator: &mut Simulator) -> Result<(), String> {
    if !invocable.init_required {
        return match is_init {
            true => Err(format!("chaincode '{name}' does not require initialization but called as init")),
            false => Ok(()),
        };
    }
    let version = invocable.version.as_bytes();
    let initialized = simulator.get_state(name, INITIALIZED_KEY).map_err(|cause| cause.to_string())?;
    match (is_init, initialized.is_some_and(|found| found == version)) {
        (false, true) => Ok(()),
        (false, false) => {
            Err(format!("chaincode '{name}' has not been initialized for this version, must call as init first"))
        }
        (true, true) => Err(format!("chaincode '{name}' is already initialized but called as init")),
        (true, false) => simulator
            .put_state(name, INITIALIZED_KEY, Bytes::copy_from_slice(version))
            .map_err(|cause| cause.to_string()),
    }
}
