//! Twin hosts for rehearse and for the tests.
