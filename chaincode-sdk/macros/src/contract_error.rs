//! `#[derive(ContractError)]`: status, code and message of each variant.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Fields, Ident, Lit, LitStr, Result, Token, Variant};

/// The attribute of a variant.
enum Failure {
    Declared { status: i32, message: LitStr },
    Transparent,
}

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let Data::Enum(data) = &item.data else {
        return Err(syn::Error::new_spanned(&item.ident, "ContractError is derived for enums: one variant, one code"));
    };
    let name = &item.ident;
    let (mut arms, mut transparent) = (Vec::new(), None);
    for variant in &data.variants {
        match failure(variant)? {
            Failure::Declared { status, message } => arms.push(declared(name, variant, status, &message)),
            Failure::Transparent => {
                let ident = &variant.ident;
                arms.push(quote! { #name::#ident(failure) => failure, });
                if transparent.replace(ident.clone()).is_some() {
                    return Err(syn::Error::new_spanned(variant, "one variant is `transparent`, not two"));
                }
            }
        }
    }
    let others = transparent.map(|variant| {
        quote! {
            impl<E: ::std::error::Error> ::core::convert::From<E> for #name {
                fn from(error: E) -> Self {
                    Self::#variant(::ripstop_chaincode_sdk::Failure::from(error))
                }
            }
        }
    });
    Ok(quote! {
        impl ::core::convert::From<#name> for ::ripstop_chaincode_sdk::Failure {
            fn from(error: #name) -> Self {
                match error { #(#arms)* }
            }
        }
        #others
    })
}

fn failure(variant: &Variant) -> Result<Failure> {
    let of = |attribute: &&Attribute| attribute.path().is_ident("failure");
    let Some(attribute) = variant.attrs.iter().find(of) else {
        let message = "say status and message: #[failure(404, \"there is no account {0}\")]";
        return Err(syn::Error::new_spanned(variant, message));
    };
    let form = "#[failure(STATUS, \"message\")], or #[failure(transparent)]";
    let parts = attribute.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
    let parts: Vec<_> = parts.iter().collect();
    match parts.as_slice() {
        [Expr::Path(path)] if path.path.is_ident("transparent") => match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(Failure::Transparent),
            _ => Err(syn::Error::new_spanned(variant, "a transparent variant has one field, of the type `Failure`")),
        },
        [Expr::Lit(ExprLit { lit: Lit::Int(status), .. }), Expr::Lit(ExprLit { lit: Lit::Str(message), .. })] => {
            let code: i32 = status.base10_parse()?;
            if !(400..=599).contains(&code) {
                let message = "a status from 400 to 599: below 400 endorsers would sign the answer";
                return Err(syn::Error::new_spanned(status, message));
            }
            Ok(Failure::Declared { status: code, message: message.clone() })
        }
        _ => Err(syn::Error::new_spanned(attribute, form)),
    }
}

fn declared(name: &Ident, variant: &Variant, status: i32, message: &LitStr) -> TokenStream {
    let ident = &variant.ident;
    let code = ident.to_string();
    let (pattern, message) = match &variant.fields {
        Fields::Unit => (quote!(), message.clone()),
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            (quote!({ #(#names),* }), message.clone())
        }
        Fields::Unnamed(fields) => {
            let names = (0..fields.unnamed.len()).map(|index| format_ident!("_{index}", span = Span::call_site()));
            (quote!((#(#names),*)), with_names(message))
        }
    };
    quote! {
        #[allow(unused_variables)]
        #name::#ident #pattern => {
            ::ripstop_chaincode_sdk::Failure::with_code(#status, #code, ::std::format!(#message))
        }
    }
}

/// `{0}` as `{_0}`: fields without a name are bound to such ones.
fn with_names(message: &LitStr) -> LitStr {
    let text = message.value();
    let mut named = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        named.push(character);
        match (character, characters.peek()) {
            ('{', Some('{')) => named.extend(characters.next()),
            ('{', Some(next)) if next.is_ascii_digit() => named.push('_'),
            _ => {}
        }
    }
    LitStr::new(&named, message.span())
}
