//! `#[derive(Key)]`: a struct's fields as the parts of a composite key.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Result};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let Data::Struct(data) = &item.data else {
        return Err(syn::Error::new_spanned(&item.ident, "Key is derived for structs: their fields are its parts"));
    };
    if data.fields.is_empty() {
        return Err(syn::Error::new_spanned(&item.ident, "a key without a field would be the same for all"));
    }
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(&item.generics, "a derived Key has no generic parameters"));
    }
    let name = &item.ident;
    let members: Vec<_> = data.fields.members().collect();
    let kinds: Vec<_> = data.fields.iter().map(|field| &field.ty).collect();
    let read = kinds.iter().map(|kind| quote!(<#kind as ::ripstop_chaincode_sdk::Key>::read(parts)?));
    let built = match &data.fields {
        Fields::Unnamed(_) => quote!(Self(#(#read),*)),
        _ => quote!(Self { #(#members: #read),* }),
    };
    Ok(quote! {
        impl ::ripstop_chaincode_sdk::Key for #name {
            fn write(&self, parts: &mut ::std::vec::Vec<::std::string::String>) {
                #(<#kinds as ::ripstop_chaincode_sdk::Key>::write(&self.#members, parts);)*
            }

            fn read(
                parts: &mut ::std::vec::IntoIter<::std::string::String>,
            ) -> ::core::result::Result<Self, ::ripstop_chaincode_sdk::KeyError> {
                ::core::result::Result::Ok(#built)
            }
        }
    })
}
