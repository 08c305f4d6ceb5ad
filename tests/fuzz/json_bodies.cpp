// Bodies of JSON that others send: a provider's answers, requests to the local host and to envd,
// what skep-guest says about results.
#include "host/create_request.hpp"
#include "host/envd/connect_rpc.hpp"
#include "sandbox/errors.hpp"
#include "sandbox/wire_control.hpp"
#include "sandbox/wire_envd.hpp"
#include "sandbox/wire_templates.hpp"
#include "tests/fuzz/targets.hpp"
#include "transfer/summary.hpp"

using namespace skep;

namespace json_bodies_target {
namespace {

void answers(std::string_view body) {
  using namespace sandbox::wire;
  (void)read_created(body);
  (void)read_detail(body);
  (void)read_list(body);
  (void)read_processes(body);
  (void)read_entry(body);
  (void)read_entries(body);
  (void)read_empty(body);
  (void)read_uploaded(body);
  (void)read_process_event(body);
  (void)read_end_of_stream(body);
  (void)read_metrics(body);
  (void)read_metrics_of(body);
  (void)read_usage(body);
  (void)read_logs(body);
  (void)read_snapshot(body);
  (void)read_snapshots(body);
  (void)read_forks(body);
  (void)read_watcher(body);
  (void)read_changes(body);
  (void)read_written(body);
  (void)read_bare_entry(body);
  (void)read_texts(body);
  (void)read_watch_event(body);
  (void)read_template_build(body);
  (void)read_file_link(body);
  (void)read_progress(body);
  (void)read_alias(body);
  (void)read_templates(body);
  (void)read_template(body);
  (void)read_tags(body);
}

void to_envd(std::string_view body) {
  try {
    auto j = envd::parse_message(body);
    (void)envd::dump(j);
    try {
      (void)envd::requested_signal(j);
    } catch (const envd::rpc_failure&) {
    }
    for (const auto* name : {"path", "depth", "process", "signal", "tag"}) {
      try {
        (void)envd::get_string(j, name);
      } catch (const envd::rpc_failure&) {
      }
      try {
        (void)envd::get_int(j, name);
      } catch (const envd::rpc_failure&) {
      }
      try {
        (void)envd::get_bytes(j, name);
      } catch (const envd::rpc_failure&) {
      }
      try {
        (void)envd::get_bool(j, name, true);
      } catch (const envd::rpc_failure&) {
      }
    }
  } catch (const envd::rpc_failure& f) {
    (void)envd::error_json(f);
  }
}

} // namespace
} // namespace json_bodies_target

void skep::fuzz::run_json_bodies(input in) {
  using namespace json_bodies_target;
  switch (in.choice() % 4) {
  case 0:
    answers(in.rest());
    break;
  case 1:
    to_envd(in.rest());
    break;
  case 2:
    (void)host::parse_create(in.rest(), 300'000, {});
    break;
  case 3:
    if (auto summary = transfer::parse_diff_summary(in.rest())) {
      auto again = transfer::parse_diff_summary(to_line(transfer::to_json(*summary)));
      fuzz::require(again.ok() && again->modified == summary->modified, "names survive JSON");
    }
    break;
  }
}
