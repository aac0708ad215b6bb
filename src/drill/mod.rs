//! Scenarios, timeline, verdict, reports.
