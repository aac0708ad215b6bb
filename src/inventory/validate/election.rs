//! Priorities and weights: whether a failed check moves the VIP.

use super::hosts::RawHost;
use super::names::unknown;
use super::raw_instance::RawInstance;
use super::script::Tracked;
use crate::inventory::context::{At, Context};
use crate::inventory::model::{Script, TrackProcess};
use crate::inventory::source::Span;

/// Highest default priority. High, because the skew time before a takeover is (256 - priority)/256 of a second with
/// version 2 (RFC 3768 §6.1): 12 ms instead of the 600 ms that the customary 100 costs. Not higher, so that a
/// positive weight has room.
const DEFAULT_PRIORITY: i32 = 250;

/// A weight that counts in the election of one instance.
pub(super) struct Weight {
    value: i16,
    /// `script chk_nginx`.
    what: String,
    span: Span,
}

/// The weights of everything that `instance` tracks; names that refer to nothing are reported.
pub(super) fn weights(
    context: &Context,
    instance: &RawInstance,
    scripts: &[Tracked<Script>],
    processes: &[Tracked<TrackProcess>],
) -> Vec<Weight> {
    let mut weights = by_name(context, "script", &instance.track_script, scripts, |s| s.weight);
    weights.extend(by_name(
        context,
        "track process",
        &instance.track_process,
        processes,
        |p| p.weight,
    ));
    for (interface, weight) in &instance.track_interface {
        if let Some(weight) = weight {
            let what = format!("tracked interface {}", interface.value);
            weights.push(Weight {
                value: weight.value,
                what,
                span: weight.span,
            });
        }
    }
    // A weight of 0 means FAULT: then the host takes no part in the election at all, whatever the priorities.
    weights.retain(|w| w.value != 0);
    weights
}

/// The weights of what an instance tracks, of one kind; names that refer to nothing are reported.
fn by_name<T>(
    context: &Context,
    kind: &str,
    names: &[At<String>],
    defined: &[Tracked<T>],
    weight: impl Fn(&T) -> i16,
) -> Vec<Weight> {
    let mut weights = Vec::new();
    for name in names {
        match defined.iter().find(|d| d.name.value == name.value) {
            Some(found) => weights.push(Weight {
                value: weight(&found.value),
                what: format!("{kind} {}", name.value),
                span: found.weight_span,
            }),
            None => {
                let known = defined.iter().map(|d| d.name.value.as_str());
                unknown(context, name.span, kind, &name.value, known);
            }
        }
    }
    weights
}

/// Chooses priorities that are not written, and checks that every weight can decide.
///
/// Unless written, the first host is preferred, by every instance.
pub(super) fn decide(context: &Context, instance: &mut RawInstance, hosts: &[RawHost], weights: &[Weight]) {
    if instance.nopreempt {
        for weight in weights {
            let message = format!(
                "weight {} of {} cannot move the VIP with nopreempt",
                weight.value, weight.what
            );
            let hint =
                "the other host does not take over from a lower priority: use weight 0, so that a failure means FAULT";
            context.error_hint(weight.span, message, hint);
        }
    }
    if !instance.priorities_written {
        let names: Vec<&At<String>> = hosts.iter().filter_map(|h| h.name.as_ref()).collect();
        let [first, second] = names.as_slice() else { return };
        choose_priorities(instance, [first, second], weights);
    }
    let mut by_priority: Vec<(&String, &At<u8>)> = instance.priorities.iter().collect();
    by_priority.sort_by_key(|(_, p)| std::cmp::Reverse(p.value));
    let [(high_host, high), (low_host, low)] = by_priority.as_slice() else {
        return;
    };
    if high.value == low.value {
        let span = high.span.max(low.span);
        let message = format!("both hosts have priority {}", high.value);
        context.error_hint(
            span,
            message,
            "the one with the higher address would win: make one of them higher",
        );
        return;
    }
    let (high_value, low_value) = (i32::from(high.value), i32::from(low.value));
    // keepalived clamps the effective priority to 1..254.
    let effective = |base: i32, sum: i32| (base + sum).clamp(1, 254);
    let bonus: i32 = weights.iter().map(|w| i32::from(w.value.max(0))).sum();
    let (well_high, well_low) = (effective(high_value, bonus), effective(low_value, bonus));
    if well_high <= well_low {
        let message = format!(
            "priority {} plus positive weights reaches the ceiling of 254 on both hosts, which makes them equal",
            high.value
        );
        context.error_hint(
            high.span,
            message,
            format!("lower the priorities, or the weights: their sum is {bonus}"),
        );
        return;
    }
    let gap = high_value - low_value;
    for weight in weights.iter().filter(|_| !instance.nopreempt) {
        let size = i32::from(weight.value.unsigned_abs());
        let failed = effective(high_value, bonus - size);
        if failed < well_low {
            continue;
        }
        let message = if size <= gap {
            format!(
                "weight {} of {} cannot move the VIP of {}",
                weight.value, weight.what, instance.name.value
            )
        } else {
            format!(
                "weight {} of {} cannot move the VIP of {}: priorities end at 1 and 254",
                weight.value, weight.what, instance.name.value
            )
        };
        let hint = format!(
            "a failure brings {high_host} from {well_high} to {failed}, and {low_host} has {well_low}; it must fall below: \
             |weight| greater than the gap of {gap}"
        );
        context.error_hint(weight.span, message, hint);
    }
}

/// Puts the first host one above the second, at most 250, and lower if positive weights need room.
fn choose_priorities(instance: &mut RawInstance, [first, second]: [&At<String>; 2], weights: &[Weight]) {
    // Positive weights are added while all is well; the sum must stay below the ceiling of 254, where both hosts
    // would be equal.
    let bonus: i32 = weights.iter().map(|w| i32::from(w.value.max(0))).sum();
    let high = u8::try_from(DEFAULT_PRIORITY.min(254 - bonus)).unwrap_or(0).max(2);
    instance.priorities.insert(
        first.value.clone(),
        At {
            value: high,
            span: instance.span,
        },
    );
    instance.priorities.insert(
        second.value.clone(),
        At {
            value: high - 1,
            span: instance.span,
        },
    );
}
