//! Gateway, endorser, chaincode host, validator, committer, deliver.
