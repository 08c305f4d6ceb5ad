// The holder of one sandbox (`skep-host hold ID`): a process of its own session that outlives the
// host.
//
// It reads its order (spec.hpp) from standard input, answers one JSON line on standard output -
//   {"ok":true,"info":{...}}  or  {"ok":false,"error":"no_isolation","message":"..","cause":".."}
// - when envd inside has answered or has failed to, and lives until the lease ends, the sandbox
// ends, somebody kills it through ctl.sock, or it gets SIGTERM. Whatever ends it ends the sandbox;
// then it removes the sandbox's files. Killed itself (-9), bubblewrap dies with it and a host
// sweeps the files.
//
// ctl.sock: one JSON line asks, one answers; {"ok":false,"message":".."} on refusal.
//   {"op":"watch"}                    -> {"ok":true,"info":{...}}; the connection stays open as
//                                        long as the sandbox lives, with another such line for each
//                                        change of its phase; its end is the news that the sandbox
//                                        is over
//   {"op":"set_timeout","ms":N}       -> {"ok":true,"endAt_ms":T}; N from now, capped at 24 h after
//   the start
//   {"op":"extend","ms":N}            -> the same, but never to an earlier time
//   {"op":"pause"}                    -> {"ok":true,"info":{...}} when no process runs any more
//   {"op":"resume","ms":N}            -> {"ok":true,"info":{...}}; the lease ends N from now
//   {"op":"network","network":{..}}   -> {"ok":true,"info":{...}}; replaces what may be reached
//   {"op":"metrics"}, {"op":"logs"}   -> {"ok":true,"metrics":[...]}, {"ok":true,"logs":[...]}
//   {"op":"usage","after":N}          -> {"ok":true,"gateway":{..},"calls":[..],"cursor":N,
//                                        "oldest":N}
//   {"op":"allowance","microUsd":N,"tokens":N}, {"op":"revoke_keys"}   -> the same
//   {"op":"kill"}                     -> {"ok":true} when no process and no file is left
#pragma once

#include <string>

namespace skep::host {

/// Runs the holder; returns the exit code of the process. The caller must be single-threaded.
int hold(const std::string& id);

} // namespace skep::host
