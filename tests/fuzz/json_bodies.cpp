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

#include <iterator>

using namespace skep;

namespace json_bodies_target {
namespace {

// What a provider answers: the one reader that the input names, for each parses anew.
using reader = void (*)(std::string_view);
constexpr reader readers[] = {
    [](std::string_view body) { (void)sandbox::wire::read_created(body); },
    [](std::string_view body) { (void)sandbox::wire::read_detail(body); },
    [](std::string_view body) { (void)sandbox::wire::read_list(body); },
    [](std::string_view body) { (void)sandbox::wire::read_processes(body); },
    [](std::string_view body) { (void)sandbox::wire::read_entry(body); },
    [](std::string_view body) { (void)sandbox::wire::read_entries(body); },
    [](std::string_view body) { (void)sandbox::wire::read_empty(body); },
    [](std::string_view body) { (void)sandbox::wire::read_uploaded(body); },
    [](std::string_view body) { (void)sandbox::wire::read_process_event(body); },
    [](std::string_view body) { (void)sandbox::wire::read_end_of_stream(body); },
    [](std::string_view body) { (void)sandbox::wire::read_metrics(body); },
    [](std::string_view body) { (void)sandbox::wire::read_metrics_of(body); },
    [](std::string_view body) { (void)sandbox::wire::read_usage(body); },
    [](std::string_view body) { (void)sandbox::wire::read_logs(body); },
    [](std::string_view body) { (void)sandbox::wire::read_snapshot(body); },
    [](std::string_view body) { (void)sandbox::wire::read_snapshots(body); },
    [](std::string_view body) { (void)sandbox::wire::read_forks(body); },
    [](std::string_view body) { (void)sandbox::wire::read_watcher(body); },
    [](std::string_view body) { (void)sandbox::wire::read_changes(body); },
    [](std::string_view body) { (void)sandbox::wire::read_written(body); },
    [](std::string_view body) { (void)sandbox::wire::read_bare_entry(body); },
    [](std::string_view body) { (void)sandbox::wire::read_texts(body); },
    [](std::string_view body) { (void)sandbox::wire::read_watch_event(body); },
    [](std::string_view body) { (void)sandbox::wire::read_template_build(body); },
    [](std::string_view body) { (void)sandbox::wire::read_file_link(body); },
    [](std::string_view body) { (void)sandbox::wire::read_progress(body); },
    [](std::string_view body) { (void)sandbox::wire::read_alias(body); },
    [](std::string_view body) { (void)sandbox::wire::read_templates(body); },
    [](std::string_view body) { (void)sandbox::wire::read_template(body); },
    [](std::string_view body) { (void)sandbox::wire::read_tags(body); },
};

// One getter for one name, as the input says: what is thrown is slow.
void to_envd(std::string_view body, unsigned which) {
  constexpr const char* names[] = {"path", "depth", "process", "signal", "tag"};
  const auto* name = names[which % std::size(names)];
  try {
    auto j = envd::parse_message(body);
    (void)envd::dump(j);
    switch (which / std::size(names) % 5) {
    case 0:
      (void)envd::get_string(j, name);
      break;
    case 1:
      (void)envd::get_int(j, name);
      break;
    case 2:
      (void)envd::get_bytes(j, name);
      break;
    case 3:
      (void)envd::get_bool(j, name, true);
      break;
    case 4:
      (void)envd::requested_signal(j);
      break;
    }
  } catch (const envd::rpc_failure& f) {
    (void)envd::error_json(f);
  }
}

} // namespace
} // namespace json_bodies_target

void skep::fuzz::run_json_bodies(input in) {
  using namespace json_bodies_target;
  const auto wanted = in.choice();
  switch (wanted % 4) {
  case 0:
    readers[wanted / 4 % std::size(readers)](in.rest());
    break;
  case 1:
    to_envd(in.rest(), wanted / 4);
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
