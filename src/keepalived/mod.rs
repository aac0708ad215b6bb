//! keepalived.conf: lexer, parser, model, check.
