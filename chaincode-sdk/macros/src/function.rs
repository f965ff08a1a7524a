//! One function of a contract: its marks, its parameters, its arm of the dispatch.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, GenericArgument, Ident, ImplItemFn, LitStr, Pat, PathArguments, Result, ReturnType, Type};

use crate::contract::Case;
use crate::guard::Guard;

/// What a function may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Submit,
    Query,
}

pub(crate) struct Function {
    pub(crate) kind: Kind,
    /// How callers write its name.
    pub(crate) called: String,
    pub(crate) parameters: Vec<(Ident, Type)>,
    ident: Ident,
    asynchronous: bool,
    output: Type,
    guards: Vec<Guard>,
}

impl Function {
    /// Takes the marks off `item`; `None` when it has none.
    pub(crate) fn take(item: &mut ImplItemFn, case: Case) -> Result<Option<Self>> {
        let (marks, others): (Vec<_>, Vec<_>) = item.attrs.drain(..).partition(is_mark);
        item.attrs = others;
        let mut kind: Option<(Kind, Option<String>)> = None;
        let mut guards = Vec::new();
        for mark in &marks {
            if mark.path().is_ident("require") {
                guards.extend(Guard::read(mark)?);
                continue;
            }
            if kind.is_some() {
                let message = "a function is either #[submit] or #[query]: mark it once";
                return Err(syn::Error::new_spanned(mark, message));
            }
            let marked = if mark.path().is_ident("submit") { Kind::Submit } else { Kind::Query };
            kind = Some((marked, called(mark)?));
        }
        let Some((kind, name)) = kind else {
            return match marks.first() {
                Some(mark) => Err(syn::Error::new_spanned(mark, "#[require] needs #[submit] or #[query] beside it")),
                None => Ok(None),
            };
        };
        let called = name.unwrap_or_else(|| case.of(&item.sig.ident.to_string()));
        Self::read(item, kind, called, guards).map(Some)
    }

    fn read(item: &ImplItemFn, kind: Kind, called: String, guards: Vec<Guard>) -> Result<Self> {
        if !item.sig.generics.params.is_empty() {
            let message = "a contract function has no generic parameters: callers send plain arguments";
            return Err(syn::Error::new_spanned(&item.sig.generics, message));
        }
        let mut inputs = item.sig.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver)) if receiver.reference.is_some() && receiver.mutability.is_none() => {}
            _ => {
                let message = "a contract function takes `&self` first: one contract serves many transactions at once";
                return Err(syn::Error::new_spanned(&item.sig, message));
            }
        }
        check_context(inputs.next(), kind, item)?;
        let parameters = inputs.map(parameter).collect::<Result<_>>()?;
        let ReturnType::Type(_, output) = &item.sig.output else {
            let message = "a contract function returns a `Result`: `Result<(), Failure>` when it has nothing to say";
            return Err(syn::Error::new_spanned(&item.sig, message));
        };
        Ok(Self {
            kind,
            called,
            parameters,
            ident: item.sig.ident.clone(),
            asynchronous: item.sig.asyncness.is_some(),
            output: (**output).clone(),
            guards,
        })
    }

    /// `"name" => answer,`
    pub(crate) fn arm(&self) -> TokenStream {
        let Self { called, ident, .. } = self;
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        let count = names.len();
        let reads = self.parameters.iter().enumerate().map(|(index, (name, kind))| {
            let position = index + 1;
            quote::quote_spanned! { kind.span() =>
                let #name = <#kind as ::ripstop_chaincode_sdk::Parameter>::read(&arguments[#index], #position)?;
            }
        });
        let context = match self.kind {
            Kind::Submit => quote!(stub),
            Kind::Query => quote!(stub.view()),
        };
        let wait = self.asynchronous.then(|| quote!(.await));
        let guards = self.guards.iter().map(|guard| guard.check(called));
        let output = self.output.span();
        let answer = quote::quote_spanned! { output =>
            ::ripstop_chaincode_sdk::Answer::answer(result)
        };
        quote! {
            #called => {
                #(#guards)*
                let arguments = ::ripstop_chaincode_sdk::dispatch::arguments(stub, #count)?;
                let _ = arguments;
                #(#reads)*
                let result = self.#ident(#context, #(#names),*) #wait;
                #answer
            }
        }
    }

    /// The `T` of the `Result<T, E>` that the function returns.
    pub(crate) fn returned(&self) -> Option<&Type> {
        let Type::Path(path) = &self.output else { return None };
        let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else { return None };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(kind) => Some(kind),
            _ => None,
        })
    }
}

fn is_mark(attribute: &Attribute) -> bool {
    ["submit", "query", "require"].iter().any(|mark| attribute.path().is_ident(mark))
}

/// The name in `#[submit(name = "Open")]`.
fn called(mark: &Attribute) -> Result<Option<String>> {
    if matches!(mark.meta, syn::Meta::Path(_)) {
        return Ok(None);
    }
    let mut called = None;
    mark.parse_nested_meta(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("unknown setting: `name` is the one there is"));
        }
        called = Some(meta.value()?.parse::<LitStr>()?.value());
        Ok(())
    })?;
    Ok(called)
}

/// The second parameter: `&Stub` where the function may write, else `&View`.
fn check_context(input: Option<&FnArg>, kind: Kind, item: &ImplItemFn) -> Result<()> {
    let (expected, other) = match kind {
        Kind::Submit => ("Stub", "a #[submit] function takes `&Stub` after `&self`"),
        Kind::Query => ("View", "a #[query] function takes `&View` after `&self`"),
    };
    let Some(FnArg::Typed(input)) = input else { return Err(syn::Error::new_spanned(&item.sig, other)) };
    let name = match &*input.ty {
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        },
        _ => None,
    };
    match name.as_deref() {
        Some("Stub") if kind == Kind::Query => {
            let message = "a #[query] function cannot write, so it gets a `&View`: write `&View` here, or mark the \
                           function #[submit]";
            Err(syn::Error::new_spanned(&input.ty, message))
        }
        // A `&Stub` serves wherever a `&View` is asked for.
        Some("View") => Ok(()),
        Some(name) if name == expected => Ok(()),
        _ => Err(syn::Error::new_spanned(&input.ty, other)),
    }
}

fn parameter(input: &FnArg) -> Result<(Ident, Type)> {
    match input {
        FnArg::Typed(typed) => match (&*typed.pat, &*typed.ty) {
            (_, Type::Reference(reference)) => {
                let message = "arguments are owned: write `String` for `&str`, `Vec<T>` for `&[T]`";
                Err(syn::Error::new_spanned(reference, message))
            }
            (Pat::Ident(pattern), kind) => Ok((pattern.ident.clone(), kind.clone())),
            (pattern, _) => {
                Err(syn::Error::new_spanned(pattern, "a parameter of a contract function has a plain name"))
            }
        },
        FnArg::Receiver(receiver) => Err(syn::Error::new_spanned(receiver, "`&self` stands first")),
    }
}
