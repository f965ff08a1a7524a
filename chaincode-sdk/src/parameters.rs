//! The arguments of a call, read into the types a contract function declares.
//!
//! Arguments travel as bytes; their forms are those of Fabric's contract API, see
//! `argument.rs`.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::argument::Argument;
use crate::{Failure, Raw};

/// One argument.
///
/// Implemented for whatever deserializes, and for [`Raw`]. Implement it for a type of your
/// own that does not deserialize to read its argument yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a contract function",
    label = "cannot be read from an argument",
    note = "derive `serde::Deserialize` for it, or take `Raw` for bytes"
)]
pub trait Parameter: Sized {
    /// Reads `argument`, the `position`th after the function name, counted from 1.
    ///
    /// # Errors
    /// Says which parameter is wrong and why; the client gets the text.
    fn read(argument: &Bytes, position: usize) -> Result<Self, Failure>;
}

/// All arguments of a call: a tuple of [`Parameter`]s, a single one, or `()`.
pub trait Parameters: Sized {
    /// Reads the arguments that follow the function name.
    ///
    /// # Errors
    /// When their number is another one, or one of them does not read.
    fn read_all(arguments: &[Bytes]) -> Result<Self, Failure>;
}

pub(crate) fn check_count(expected: usize, arguments: &[Bytes]) -> Result<(), Failure> {
    if arguments.len() == expected {
        return Ok(());
    }
    Err(Failure::new(format!("Expected {expected} parameters, but {} have been supplied", arguments.len())))
}

impl<T: DeserializeOwned> Parameter for T {
    fn read(argument: &Bytes, position: usize) -> Result<Self, Failure> {
        let refused = |cause: String| Failure::new(format!("Parameter {position} {cause}"));
        let text = std::str::from_utf8(argument).map_err(|cause| refused(format!("is not UTF-8: {cause}")))?;
        T::deserialize(Argument(text)).map_err(|cause| refused(cause.to_string()))
    }
}

impl Parameter for Raw {
    fn read(argument: &Bytes, _: usize) -> Result<Self, Failure> {
        Ok(Self(argument.clone()))
    }
}

macro_rules! single_parameters {
    ($($type:ty),+) => {$(
        impl Parameters for $type {
            fn read_all(arguments: &[Bytes]) -> Result<Self, Failure> {
                <($type,)>::read_all(arguments).map(|(only,)| only)
            }
        }
    )+};
}
single_parameters!(Raw, String, bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f64);

impl Parameters for () {
    fn read_all(arguments: &[Bytes]) -> Result<Self, Failure> {
        check_count(0, arguments)
    }
}

/// Whatever the call carries.
impl Parameters for Vec<Bytes> {
    fn read_all(arguments: &[Bytes]) -> Result<Self, Failure> {
        Ok(arguments.to_vec())
    }
}

macro_rules! tuple_parameters {
    ($count:literal: $($type:ident $position:literal),+) => {
        impl<$($type: Parameter),+> Parameters for ($($type,)+) {
            fn read_all(arguments: &[Bytes]) -> Result<Self, Failure> {
                check_count($count, arguments)?;
                Ok(($($type::read(&arguments[$position - 1], $position)?,)+))
            }
        }
    };
}
tuple_parameters!(1: A 1);
tuple_parameters!(2: A 1, B 2);
tuple_parameters!(3: A 1, B 2, C 3);
tuple_parameters!(4: A 1, B 2, C 3, D 4);
tuple_parameters!(5: A 1, B 2, C 3, D 4, E 5);
tuple_parameters!(6: A 1, B 2, C 3, D 4, E 5, F 6);
tuple_parameters!(7: A 1, B 2, C 3, D 4, E 5, F 6, G 7);
tuple_parameters!(8: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8);

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    fn message<T: std::fmt::Debug>(read: Result<T, Failure>) -> String {
        read.unwrap_err().message().to_owned()
    }

    #[test]
    fn a_tuple_types_its_arguments() {
        let read: (String, u64, bool) = Parameters::read_all(&arguments(&["a", "7", "true"])).unwrap();
        assert_eq!(read, ("a".to_owned(), 7, true));
    }

    #[test]
    fn another_number_of_arguments_is_refused_with_both_numbers() {
        let read = <(String, String)>::read_all(&arguments(&["a"]));
        assert_eq!(message(read), "Expected 2 parameters, but 1 have been supplied");
        assert_eq!(message(<()>::read_all(&arguments(&["a"]))), "Expected 0 parameters, but 1 have been supplied");
    }

    #[test]
    fn a_wrong_argument_is_named_by_its_position() {
        let refused = message(<(String, u8)>::read_all(&arguments(&["a", "300"])));
        assert!(refused.starts_with("Parameter 2 is not a u8: \"300\": "), "{refused}");
        let refused = message(String::read_all(&[Bytes::from_static(b"\xff")]));
        assert!(refused.starts_with("Parameter 1 is not UTF-8"), "{refused}");
    }

    #[test]
    fn json_and_lists_of_any_length_are_parameters() {
        let (list,): (Vec<u8>,) = Parameters::read_all(&arguments(&["[1,2]"])).unwrap();
        assert_eq!(list, [1, 2]);
        assert_eq!(Vec::<Bytes>::read_all(&arguments(&["a", "b", "c"])).unwrap().len(), 3);
    }
}
