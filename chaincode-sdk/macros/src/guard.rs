//! `#[require(…)]`: who may call a function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Attribute, LitStr, Result, Token, bracketed, token};

/// One requirement.
pub(crate) enum Guard {
    /// Of one of these organizations.
    Organization(Vec<String>),
    /// With this attribute, and this value of it where there is one.
    Attribute(String, Option<String>),
}

impl Guard {
    pub(crate) fn read(mark: &Attribute) -> Result<Vec<Self>> {
        let mut guards = Vec::new();
        mark.parse_nested_meta(|meta| {
            if meta.path.is_ident("org") {
                guards.push(Self::Organization(texts(meta.value()?)?));
            } else if meta.path.is_ident("attr") {
                let text: LitStr = meta.value()?.parse()?;
                let (name, value) = match text.value().split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (text.value(), None),
                };
                guards.push(Self::Attribute(name, value));
            } else {
                return Err(meta.error("unknown requirement: `org` and `attr` are the ones there are"));
            }
            Ok(())
        })?;
        if guards.is_empty() {
            return Err(syn::Error::new_spanned(mark, "name a requirement: #[require(org = \"Org1MSP\")]"));
        }
        Ok(guards)
    }

    pub(crate) fn check(&self, function: &str) -> TokenStream {
        match self {
            Self::Organization(organizations) => quote! {
                ::ripstop_chaincode_sdk::dispatch::require_organization(stub, #function, &[#(#organizations),*])?;
            },
            Self::Attribute(name, value) => {
                let value = match value {
                    Some(value) => quote!(::core::option::Option::Some(#value)),
                    None => quote!(::core::option::Option::None),
                };
                quote! {
                    ::ripstop_chaincode_sdk::dispatch::require_attribute(stub, #function, #name, #value)?;
                }
            }
        }
    }
}

/// One text, or several in brackets.
fn texts(input: ParseStream<'_>) -> Result<Vec<String>> {
    if !input.peek(token::Bracket) {
        return Ok(vec![input.parse::<LitStr>()?.value()]);
    }
    let list;
    let brackets = bracketed!(list in input);
    let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
    if texts.is_empty() {
        return Err(syn::Error::new(brackets.span.join(), "nobody could call the function: name an organization"));
    }
    Ok(texts.iter().map(LitStr::value).collect())
}
