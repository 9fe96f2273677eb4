//! Reads files in a guest through its agent.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::Context;
use foundry_core::error::Error;

/// Bytes that are read from a guest's file; cloud-init's result is a few hundred bytes.
const AGENT_READS: u64 = 65536;

/// Reads a small file in the guest through its agent (QEMU guest agent protocol, `guest-file-*`).
pub(crate) fn read_guest_file(
    context: &Context,
    vm: Uuid,
    path: &str,
    within: Duration,
) -> Result<Option<String>, Error> {
    let ask = |command: Value| -> Result<Option<Value>, Error> {
        let answer = context.host.agent(vm, &command.to_string(), within)?;
        Ok(answer
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .and_then(|v| v.get("return").cloned()))
    };
    let open = serde_json::json!({"execute": "guest-file-open", "arguments": {"path": path, "mode": "r"}});
    let Some(handle) = ask(open)?.filter(Value::is_i64) else { return Ok(None) };
    let read = serde_json::json!({"execute": "guest-file-read", "arguments": {"handle": handle, "count": AGENT_READS}});
    let content = ask(read)?;
    ask(serde_json::json!({"execute": "guest-file-close", "arguments": {"handle": handle}}))?;
    let encoded = content.as_ref().and_then(|c| c.get("buf-b64")).and_then(Value::as_str);
    let decode = |text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok();
    Ok(encoded.and_then(decode).and_then(|bytes| String::from_utf8(bytes).ok()))
}
