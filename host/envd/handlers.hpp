// The handlers of skep-envd, each a coroutine that answers one request or throws a failure.
#pragma once

#include "host/envd/connect_rpc.hpp"
#include "host/envd/event_stream.hpp"
#include "host/envd/server.hpp"

namespace skep::envd {

/// Largest body of an RPC.
inline constexpr std::size_t rpc_limit_bytes = 16U << 20;

/// Streaming RPCs of process.Process: answer errors in the end-of-stream envelope by throwing
/// rpc_failure, before or after the stream was begun.
task<void> process_start(services& s, exchange& x, json request);
task<void> process_connect(services& s, exchange& x, json request);

task<void> filesystem_watch_dir(services& s, exchange& x, json request);

/// The client-streaming RPC: reads the envelopes of the request itself, answers with one message.
task<json> process_stream_input(services& s, exchange& x);

/// Unary RPCs: the answer, or a thrown rpc_failure.
task<json> process_list(services& s, json request);
task<json> process_update(services& s, json request);
task<json> process_send_input(services& s, json request);
task<json> process_send_signal(services& s, json request);
task<json> process_close_stdin(services& s, json request);
task<json> filesystem_stat(services& s, json request);
task<json> filesystem_list_dir(services& s, json request);
task<json> filesystem_make_dir(services& s, json request);
task<json> filesystem_move(services& s, json request);
task<json> filesystem_remove(services& s, json request);
task<json> filesystem_create_watcher(services& s, json request);
task<json> filesystem_get_watcher_events(services& s, json request);
task<json> filesystem_remove_watcher(services& s, json request);

/// REST: answer, or throw rest_failure.
task<void> files_get(services& s, exchange& x);
task<void> files_post(services& s, exchange& x);
task<void> files_compose(services& s, exchange& x);
task<void> metrics_get(services& s, exchange& x);
task<void> envs_get(services& s, exchange& x);

/// What the host alone may ask; its proxy lets nobody else reach these.
task<void> init_post(services& s, exchange& x);
task<void> freeze_post(services& s, exchange& x);
task<void> unfreeze_post(services& s, exchange& x);

/// Creates the missing parents of an absolute path, mode 0755. False with errno.
bool make_parents(const std::string& path);

/// CONNECT 127.0.0.1:PORT: the bytes of a port inside the sandbox, for the host's proxy.
task<void> connect_port(services& s, exchange& x);

} // namespace skep::envd
