//! The whole of a contract's `main`.

use crate::{
    Contract, DialError, DialSettings, Dialer, ServeError, Server, ServerSettings, SettingsError, interrupted,
};

/// Why a contract's program cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// As a service.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// As a program that dials.
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// Runs `contract` as the environment says, until Ctrl-C or SIGTERM: where
/// `CORE_PEER_ADDRESS` is set and `CHAINCODE_SERVER_ADDRESS` is not, it dials that peer,
/// else it is a service.
///
/// ```no_run
/// # use ripstop_chaincode_sdk::{Contract, Failure, Response, Stub};
/// # struct Bank;
/// # impl Contract for Bank {
/// #     async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
/// #         Err(Failure::unknown_function(stub))
/// #     }
/// # }
/// #[tokio::main]
/// async fn main() -> Result<(), ripstop_chaincode_sdk::RunError> {
///     ripstop_chaincode_sdk::run(Bank).await
/// }
/// ```
///
/// # Errors
/// When the environment is not what [`ServerSettings::from_environment`] or
/// [`DialSettings::from_environment`] ask for, or the program cannot listen.
pub async fn run<C: Contract>(contract: C) -> Result<(), RunError> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("CORE_PEER_ADDRESS") && !is_set("CHAINCODE_SERVER_ADDRESS") {
        Dialer::new(DialSettings::from_environment()?, contract).run(interrupted()).await?;
    } else {
        Server::new(ServerSettings::from_environment()?, contract).run(interrupted()).await?;
    }
    Ok(())
}
