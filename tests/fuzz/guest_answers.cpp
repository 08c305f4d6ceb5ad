// What skep-guest answers to the daemon, and what a sandbox says of who and where it is: whatever
// bytes come, an answer is read by type or refused, and what was accepted keeps its promises.
#include "actors/guest_answers.hpp"
#include "actors/isolation_check.hpp"
#include "actors/network_check.hpp"
#include "tests/fuzz/targets.hpp"

#include <algorithm>

using namespace skep;

namespace guest_answers_target {
namespace {

using namespace skep::actors;

void to_readers(const json& answer) {
  if (auto arrived = read_arrived(answer))
    fuzz::require(answer["files"] == arrived->files
                      && answer["manifest_sha256"] == arrived->manifest_sha256,
                  "what arrived is what was said");
  if (auto base = read_guest_base(answer)) {
    const auto& c = base->commit;
    fuzz::require(c.size() >= 4 && c.size() <= 64
                      && c.find_first_not_of("0123456789abcdef") == c.npos,
                  "a base is a commit");
  }
  if (auto pid = read_launched(answer)) fuzz::require(*pid >= 0, "a process has a number");
  if (read_input_arrived(answer)) fuzz::require(answer["state"].is_string(), "a state is a word");
  for (auto how : {network_check::require, network_check::warn})
    if (judge_network(answer, {}, how))
      fuzz::require(answer["targets"].size() >= std::size(metadata_places),
                    "a network is believed only after an answer to each question");
  auto parts = read_parts(answer);
  fuzz::require(parts.empty() || parts.size() <= answer["parts"].size(), "no part is made up");
}

void to_guest(std::string_view text, unsigned how) {
  sandbox::command_result r;
  r.exited = (how & 1) == 0;
  r.exit_code = static_cast<int>((how >> 1) % 5);
  r.status = "exit status " + std::to_string(r.exit_code);
  (how & 16 ? r.stderr_data : r.stdout_data) = text;
  auto answer = read_guest_answer(r);
  if (answer) {
    fuzz::require(answer->is_object() && r.exited && r.exit_code == 0, "an answer is an object");
    return to_readers(*answer);
  }
  fuzz::require(answer.err().code == errc::protocol || answer.err().code == errc::stale_epoch
                    || answer.err().code == errc::remote_command_failed,
                "no answer is an error by name");
  fuzz::require(answer.err().cause.size() <= 500, "an error is short");
}

void to_judge(std::string_view text) {
  const place here{"boot", "mnt:[1]", "pid:[2]"};
  if (!judge_isolation(text, "mark-7", here)) return;
  fuzz::require(text.find("\nmark-7\n") != text.npos, "only the mark of this create passes");
  fuzz::require(!text.starts_with("0\n"), "root does not pass");
  fuzz::require(text.find("\nboot\n") == text.npos || text.find("mnt:[1]\npid:[2]") == text.npos,
                "this very place does not pass");
}

} // namespace
} // namespace guest_answers_target

namespace skep::fuzz {

void run_guest_answers(input in) {
  auto how = in.choice();
  if (how >= 128) return guest_answers_target::to_judge(in.rest());
  guest_answers_target::to_guest(in.rest(), how);
}

} // namespace skep::fuzz
