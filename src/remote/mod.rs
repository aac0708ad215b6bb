//! SSH: connect, host keys, deliver the agent, exchange frames.
