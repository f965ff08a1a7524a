//! What authors are told when something is wrong, as the compiler would print it.

use proc_macro2::TokenStream;

use crate::{contract, contract_error, key};

/// The messages, in their order.
fn refused(expanded: syn::Result<TokenStream>) -> Vec<String> {
    match expanded {
        Ok(code) => panic!("this was taken: {code}"),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

fn parsed(text: &str) -> TokenStream {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn function(text: &str) -> Vec<String> {
    refused(contract::expand(TokenStream::new(), parsed(&format!("impl Bank {{ {text} }}"))))
}

fn settings(text: &str) -> Vec<String> {
    let block = "impl Bank { #[submit] fn open(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) } }";
    refused(contract::expand(parsed(text), parsed(block)))
}

#[test]
fn a_query_that_takes_a_stub_is_told_to_take_a_view() {
    assert_eq!(
        function("#[query] fn read(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) }"),
        ["a #[query] function cannot write, so it gets a `&View`: write `&View` here, or mark the function #[submit]"]
    );
}

#[test]
fn signatures_that_cannot_be_called_are_refused_with_what_to_write() {
    let cases = [
        (
            "#[submit] fn f(stub: &Stub) -> Result<(), Failure> { Ok(()) }",
            "a contract function takes `&self` first: one contract serves many transactions at once",
        ),
        (
            "#[submit] fn f(&mut self, stub: &Stub) -> Result<(), Failure> { Ok(()) }",
            "a contract function takes `&self` first: one contract serves many transactions at once",
        ),
        (
            "#[submit] fn f(&self, id: String) -> Result<(), Failure> { Ok(()) }",
            "a #[submit] function takes `&Stub` after `&self`",
        ),
        ("#[query] fn f(&self) -> Result<(), Failure> { Ok(()) }", "a #[query] function takes `&View` after `&self`"),
        (
            "#[submit] fn f(&self, stub: &Stub, id: &str) -> Result<(), Failure> { Ok(()) }",
            "arguments are owned: write `String` for `&str`, `Vec<T>` for `&[T]`",
        ),
        (
            "#[submit] fn f(&self, stub: &Stub) {}",
            "a contract function returns a `Result`: `Result<(), Failure>` when it has nothing to say",
        ),
        (
            "#[submit] fn f<T>(&self, stub: &Stub, value: T) -> Result<(), Failure> { Ok(()) }",
            "a contract function has no generic parameters: callers send plain arguments",
        ),
        (
            "#[submit] #[query] fn f(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) }",
            "a function is either #[submit] or #[query]: mark it once",
        ),
        (
            "#[require(org = \"Org1MSP\")] fn f(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) }",
            "#[require] needs #[submit] or #[query] beside it",
        ),
        ("fn f(&self) {}", "a contract needs a function marked #[submit] or #[query]"),
    ];
    for (text, message) in cases {
        assert_eq!(function(text), [message], "{text}");
    }
}

#[test]
fn all_wrong_functions_of_a_block_are_told_at_once() {
    let one = "#[submit] fn one(&self, stub: &Stub) {}";
    let two = "#[submit] fn two(&self, id: String) -> Result<(), Failure> { Ok(()) }";
    assert_eq!(function(&format!("{one} {two}")).len(), 2);
    let first = "#[submit(name = \"twice\")] fn one(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) }";
    let second = "#[submit] fn twice(&self, stub: &Stub) -> Result<(), Failure> { Ok(()) }";
    assert_eq!(function(&format!("{first} {second}")), ["two functions are called \"twice\""]);
}

#[test]
fn unknown_settings_and_requirements_are_told_which_there_are() {
    let unknown = "unknown setting: `name`, `version` and `rename_all` are the ones there are";
    assert_eq!(settings("title = \"bank\""), [unknown]);
    assert_eq!(settings("name = \"a:b\""), ["a contract's name holds no ':', which ends it in a call"]);
    assert_eq!(settings("rename_all = \"snake\""), ["`PascalCase` or `camelCase`"]);
    let guarded = |guard: &str| {
        function(&format!("#[submit] #[require({guard})] fn f(&self, stub: &Stub) -> Result<(), Failure> {{ Ok(()) }}"))
    };
    assert_eq!(guarded("role = \"auditor\""), ["unknown requirement: `org` and `attr` are the ones there are"]);
    assert_eq!(guarded("org = []"), ["nobody could call the function: name an organization"]);
    let of_trait = refused(contract::expand(TokenStream::new(), parsed("impl Default for Bank {}")));
    assert_eq!(of_trait, ["#[contract] goes on the type's own `impl` block, not on that of a trait"]);
}

#[test]
fn errors_without_status_or_message_are_refused() {
    let variant = |text: &str| refused(contract_error::expand(parsed(&format!("enum Fail {{ {text} }}"))));
    assert_eq!(variant("Gone"), ["say status and message: #[failure(404, \"there is no account {0}\")]"]);
    let message = "a status from 400 to 599: below 400 endorsers would sign the answer";
    assert_eq!(variant("#[failure(200, \"fine\")] Fine"), [message]);
    let form = "#[failure(STATUS, \"message\")], or #[failure(transparent)]";
    assert_eq!(variant("#[failure(\"gone\", 404)] Gone"), [form]);
    let field = "a transparent variant has one field, of the type `Failure`";
    assert_eq!(variant("#[failure(transparent)] Other"), [field]);
    let no_enum = "ContractError is derived for enums: one variant, one code";
    assert_eq!(refused(contract_error::expand(parsed("struct Fail;"))), [no_enum]);
}

#[test]
fn keys_without_parts_are_refused() {
    let key = |text: &str| refused(key::expand(parsed(text)));
    assert_eq!(key("enum Id { One }"), ["Key is derived for structs: their fields are its parts"]);
    assert_eq!(key("struct Id;"), ["a key without a field would be the same for all"]);
    assert_eq!(key("struct Id<T>(T);"), ["a derived Key has no generic parameters"]);
}
