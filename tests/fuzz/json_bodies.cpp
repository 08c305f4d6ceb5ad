// Bodies of JSON that others send: a provider's answers, requests to the local host and to envd,
// what skep-guest says about results.
#include "host/create_request.hpp"
#include "host/envd/connect_rpc.hpp"
#include "sandbox/errors.hpp"
#include "sandbox/wire.hpp"
#include "tests/fuzz/input.hpp"
#include "transfer/summary.hpp"

using namespace skep;

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
}

void to_envd(std::string_view body) {
  try {
    auto j = envd::parse_message(body);
    (void)envd::dump(j);
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

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in{data, size};
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
  return 0;
}
