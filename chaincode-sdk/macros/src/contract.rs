//! `#[contract]`: the block as it was, and the dispatch beside it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{ImplItem, ItemImpl, LitStr, Result, Type};

use crate::function::{Function, Kind};
use crate::schema;

/// What stands in the parentheses of the attribute.
#[derive(Default)]
struct Settings {
    name: Option<String>,
    version: Option<String>,
    case: Case,
}

/// How callers write names.
#[derive(Default, Clone, Copy)]
pub(crate) enum Case {
    #[default]
    AsWritten,
    Pascal,
    Camel,
}

impl Case {
    pub(crate) fn of(self, name: &str) -> String {
        let mut upper = matches!(self, Self::Pascal);
        if matches!(self, Self::AsWritten) {
            return name.to_owned();
        }
        let mut written = String::new();
        for character in name.chars() {
            match character {
                '_' => upper = true,
                _ if upper => {
                    written.extend(character.to_uppercase());
                    upper = false;
                }
                _ => written.push(character),
            }
        }
        written
    }
}

pub(crate) fn expand(arguments: TokenStream, block: TokenStream) -> Result<TokenStream> {
    let settings = settings(arguments)?;
    let mut block: ItemImpl = syn::parse2(block)?;
    if let Some((_, path, _)) = &block.trait_ {
        let message = "#[contract] goes on the type's own `impl` block, not on that of a trait";
        return Err(syn::Error::new_spanned(path, message));
    }
    let functions = functions(&mut block, settings.case)?;
    if functions.is_empty() {
        let message = "a contract needs a function marked #[submit] or #[query]";
        return Err(syn::Error::new_spanned(&block.self_ty, message));
    }
    let dispatch = dispatch(&block, &settings, &functions)?;
    Ok(quote! { #block #dispatch })
}

fn settings(arguments: TokenStream) -> Result<Settings> {
    let mut settings = Settings::default();
    let parser = syn::meta::parser(|meta| {
        let known = ["name", "version", "rename_all"];
        if !known.iter().any(|name| meta.path.is_ident(name)) {
            return Err(meta.error("unknown setting: `name`, `version` and `rename_all` are the ones there are"));
        }
        let value: LitStr = meta.value()?.parse()?;
        if meta.path.is_ident("name") {
            if value.value().contains(':') {
                return Err(syn::Error::new_spanned(value, "a contract's name holds no ':', which ends it in a call"));
            }
            settings.name = Some(value.value());
        } else if meta.path.is_ident("version") {
            settings.version = Some(value.value());
        } else {
            settings.case = match value.value().as_str() {
                "PascalCase" => Case::Pascal,
                "camelCase" => Case::Camel,
                _ => return Err(syn::Error::new_spanned(value, "`PascalCase` or `camelCase`")),
            };
        }
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    Ok(settings)
}

/// Takes the marks off the block; all errors at once.
fn functions(block: &mut ItemImpl, case: Case) -> Result<Vec<Function>> {
    let (mut functions, mut wrong): (Vec<Function>, Option<syn::Error>) = (Vec::new(), None);
    for item in &mut block.items {
        let ImplItem::Fn(item) = item else { continue };
        let function = Function::take(item, case).and_then(|function| {
            let twice = function.as_ref().filter(|one| functions.iter().any(|other| other.called == one.called));
            match twice {
                Some(twice) => {
                    let message = format!("two functions are called {:?}", twice.called);
                    Err(syn::Error::new_spanned(&item.sig.ident, message))
                }
                None => Ok(function),
            }
        });
        match (function, &mut wrong) {
            (Ok(function), _) => functions.extend(function),
            (Err(cause), Some(wrong)) => wrong.combine(cause),
            (Err(cause), none) => *none = Some(cause),
        }
    }
    wrong.map_or(Ok(functions), Err)
}

fn dispatch(block: &ItemImpl, settings: &Settings, functions: &[Function]) -> Result<TokenStream> {
    let contract = &block.self_ty;
    let (generics, _, bounds) = block.generics.split_for_impl();
    let name = settings.name.clone().map_or_else(|| type_name(contract), Ok)?;
    let metadata = metadata(&name, settings.version.as_deref().unwrap_or("1.0.0"), functions);
    let arms = functions.iter().map(Function::arm);
    Ok(quote! {
        impl #generics ::ripstop_chaincode_sdk::Contract for #contract #bounds {
            fn name(&self) -> &str {
                #name
            }

            fn metadata(&self) -> ::core::option::Option<&str> {
                ::core::option::Option::Some(#metadata)
            }

            async fn invoke(
                &self,
                stub: &::ripstop_chaincode_sdk::Stub,
            ) -> ::core::result::Result<::ripstop_chaincode_sdk::Response, ::ripstop_chaincode_sdk::Failure> {
                match stub.function() {
                    #(#arms)*
                    "" if stub.args().is_empty() => ::ripstop_chaincode_sdk::dispatch::nothing_called(),
                    _ => ::core::result::Result::Err(::ripstop_chaincode_sdk::Failure::unknown_function(stub)),
                }
            }
        }
    })
}

fn type_name(contract: &Type) -> Result<String> {
    match contract {
        Type::Path(path) if !path.path.segments.is_empty() => {
            Ok(path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default())
        }
        other => Err(syn::Error::new_spanned(other.to_token_stream(), "name the contract: #[contract(name = \"…\")]")),
    }
}

/// The JSON of fabric-contract-api's contract schema.
fn metadata(name: &str, version: &str, functions: &[Function]) -> String {
    let text = schema::text;
    let transactions: Vec<_> = functions.iter().map(transaction).collect();
    let (name, version) = (text(name), text(version));
    let info = format!(r#"{{"title":{name},"version":{version}}}"#);
    format!(
        r#"{{"$schema":"https://hyperledger.github.io/fabric-chaincode-node/main/api/contract-schema.json","contracts":{{{name}:{{"name":{name},"contractInstance":{{"name":{name},"default":true}},"transactions":[{}],"info":{info}}}}},"info":{info},"components":{{"schemas":{{}}}}}}"#,
        transactions.join(",")
    )
}

fn transaction(function: &Function) -> String {
    let parameters: Vec<_> = function
        .parameters
        .iter()
        .map(|(name, kind)| format!(r#"{{"name":{},"schema":{}}}"#, schema::text(&name.to_string()), schema::of(kind)))
        .collect();
    let returns = function.returned().map(schema::of).filter(|schema| schema != schema::NOTHING);
    let returns = returns.map(|schema| format!(r#","returns":{schema}"#)).unwrap_or_default();
    let tag = match function.kind {
        Kind::Submit => r#"["SUBMIT","submitTx"]"#,
        Kind::Query => r#"["EVALUATE"]"#,
    };
    let name = schema::text(&function.called);
    format!(r#"{{"name":{name},"tag":{tag},"parameters":[{}]{returns}}}"#, parameters.join(","))
}
