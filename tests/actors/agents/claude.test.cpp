// Output recorded from the real CLI (2.1.197) talking to a scripted model server, and bad input.
#include "actors/agents/claude.hpp"
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

using namespace skep;
using namespace skep::actors;

namespace {

const pane_id pane{"pn_a"};

std::string golden(const std::string& name) {
  const char* source = std::getenv("SKEP_SOURCE");
  std::ifstream in{std::string{source ? source : "."} + "/tests/actors/agents/golden/claude-" + name
                   + ".jsonl"};
  REQUIRE(in);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string line_of(const agent_event& e) {
  std::ostringstream out;
  if (auto* b = std::get_if<agent_block>(&e)) {
    CHECK(b->pane == pane);
    out << to_string(b->kind) << (b->is_error ? "!" : "");
    if (!b->name.empty()) out << " " << b->name;
    out << ": " << b->text;
  } else {
    auto& u = std::get<pane_usage>(e);
    CHECK(u.pane == pane);
    out << "usage: " << u.cost_usd << " usd, " << u.input_tokens << " in, " << u.output_tokens
        << " out, " << u.turns << " turns: " << u.summary;
  }
  return out.str();
}

using strings = std::vector<std::string>;

/// Feeds the text in pieces of `piece` bytes.
strings feed(claude_adapter& a, std::string_view text, std::size_t piece = std::string::npos) {
  strings out;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
    for (auto& e : a.on_output(text.substr(0, piece)))
      out.push_back(line_of(e));
  return out;
}

struct run {
  strings events;
  verdict end;
  run(const std::string& name, std::int32_t exit_code, std::size_t piece = std::string::npos) {
    claude_adapter a{pane};
    events = feed(a, golden(name), piece);
    end = a.on_exit(exit_code, 0);
  }
};

verdict end_of(std::string_view output, std::int32_t exit_code, std::int32_t signal = 0) {
  claude_adapter a{pane};
  feed(a, output);
  return a.on_exit(exit_code, signal);
}

const strings ok_events{
    "text: I will write the file.",
    R"(tool_use Write: {"content":"hello from the fake model\n","file_path":"/workspace/hello.txt"})",
    "tool_result: File created successfully at: /workspace/hello.txt (file state is current in "
    "your "
    "context — no need to Read it back)",
    "text: Now I commit it.",
    R"(tool_use Bash: {"command":"git add -A && git commit -qm 'Add hello.txt' && git log --oneline -1","description":"Commit the file"})",
    "tool_result: 2197eb2 Add hello.txt",
    "text: Done: hello.txt is committed.",
    "usage: 0.01905 usd, 3600 in, 150 out, 3 turns: Done: hello.txt is committed."};

} // namespace

TEST_CASE("a good run gives its blocks, its usage and completed") {
  run r{"ok", 0};
  CHECK(r.events == ok_events);
  CHECK(r.end.result == outcome::completed);
  CHECK_FALSE(r.end.why);
}

TEST_CASE("output may be cut anywhere") {
  for (std::size_t piece : {1u, 2u, 7u, 100u, 1000u, 4096u})
    CHECK(run("ok", 0, piece).events == ok_events);
}

TEST_CASE("a refused key is agent_auth after its retries and is not tried again", "[owasp-a07]") {
  run r{"e401", 1};
  REQUIRE(r.events.size() == 3);
  CHECK(r.events[0].substr(0, 58) == "retry! authentication_failed: attempt 1 of 1, status 401, ");
  CHECK(r.events[1].substr(0, 22) == "text!: Invalid API key");
  CHECK(r.end.result == outcome::failed);
  CHECK(r.end.why.code == errc::agent_auth);
  CHECK_FALSE(r.end.worth_retrying);
}

TEST_CASE("an overloaded model is a failure that another attempt may not meet") {
  run r{"e529", 1};
  CHECK(r.end.why.code == errc::agent_failed);
  CHECK(r.end.why.message.find("status 529") == 0);
  CHECK(r.end.why.cause == "exit code 1");
  CHECK(r.end.worth_retrying);
}

TEST_CASE("exit 0 with denied permissions is suspect") {
  run r{"denied", 0};
  CHECK(r.events[0] == "thinking: I should write the file — café first.");
  CHECK(r.end.result == outcome::suspect);
  CHECK(r.end.why.code == errc::suspect_result);
  CHECK(r.end.why.message.find("Write") != std::string::npos);
}

TEST_CASE("a success without a word or an action is suspect") {
  const std::string empty =
      R"({"type":"result","subtype":"success","is_error":false,"result":"","num_turns":1})"
      "\n";
  auto end = end_of(empty, 0);
  CHECK(end.result == outcome::suspect);
  CHECK(end.why.code == errc::suspect_result);
  CHECK(end.why.message.find("neither said nor did") != std::string::npos);
  // An answer alone is a word; a tool alone is an action.
  CHECK(end_of(R"({"type":"result","subtype":"success","is_error":false,"result":"Done."})"
               "\n",
               0)
            .result
        == outcome::completed);
  CHECK(end_of(R"({"type":"assistant","message":{"model":"m","content":[{"type":"tool_use",)"
               R"("name":"Write","input":{}}]}})"
               "\n" + empty,
               0)
            .result
        == outcome::completed);
}

TEST_CASE("a success whose last message is the CLI's own word about its API is suspect") {
  auto message = [](const char* model, const char* text) {
    return std::string{R"({"type":"assistant","message":{"model":")"} + model
           + R"(","content":[{"type":"text","text":")" + text + "\"}]}}\n";
  };
  const std::string success =
      R"({"type":"result","subtype":"success","is_error":false,"result":"Invalid API key"})"
      "\n";
  auto end = end_of(message("<synthetic>", "Invalid API key") + success, 0);
  CHECK(end.result == outcome::suspect);
  CHECK(end.why.message == "it ended with an error of its API: Invalid API key");
  // The model may use the same words, and an error that was got over is none.
  CHECK(end_of(message("claude", "Invalid API key") + success, 0).result == outcome::completed);
  CHECK(
      end_of(message("<synthetic>", "overloaded") + message("claude", "Done.") + success, 0).result
      == outcome::completed);
}

TEST_CASE("the limit of turns is met again by another attempt") {
  run r{"turns", 1};
  CHECK(r.end.result == outcome::failed);
  CHECK_FALSE(r.end.worth_retrying);
}

TEST_CASE("an interrupted run that exits with 0 is suspect") {
  run r{"interrupted", 0};
  CHECK(r.events.empty());
  CHECK(r.end.result == outcome::suspect);
}

TEST_CASE("without a result the last plain line or retry says why") {
  auto bad_option = end_of("error: unknown option '--bogus'\n", 1);
  CHECK(bad_option.result == outcome::failed);
  CHECK(bad_option.why.message == "error: unknown option '--bogus'");
  auto killed = end_of("", -1, 9);
  CHECK(killed.result == outcome::failed);
  CHECK(killed.why.cause == "ended by signal 9 (SIGKILL)");
  CHECK(killed.worth_retrying);
  auto retrying = end_of(
      R"({"type":"system","subtype":"api_retry","attempt":3,"max_retries":4,"retry_delay_ms":9000.5,"error_status":null,"error":"unknown"})"
      "\n",
      143);
  CHECK(retrying.why.message == "no result; last unknown: attempt 3 of 4, next in 9000 ms");
}

TEST_CASE("a good result with another exit code or a signal is a failure") {
  const auto good = golden("ok");
  CHECK(end_of(good, 1).result == outcome::failed);
  CHECK(end_of(good, -1, 15).result == outcome::failed);
  CHECK(end_of(good, 0).result == outcome::completed);
}

TEST_CASE("a last line without its newline still counts") {
  auto text = golden("ok");
  text.pop_back();
  claude_adapter a{pane};
  CHECK(feed(a, text).size() == ok_events.size() - 1);
  auto v = a.on_exit(0, 0);
  CHECK(v.result == outcome::completed);
  REQUIRE(v.events.size() == 1);
  CHECK(line_of(v.events[0]) == ok_events.back());
}

TEST_CASE("costs of several results are told as differences, since they are running totals") {
  claude_adapter a{pane};
  CHECK(feed(a, R"({"type":"result","total_cost_usd":0.5,"num_turns":1,"result":"a"})"
                "\n"
                R"({"type":"result","total_cost_usd":0.75,"num_turns":2,"result":"b"})"
                "\n")
        == strings{"usage: 0.5 usd, 0 in, 0 out, 1 turns: a",
                   "usage: 0.25 usd, 0 in, 0 out, 2 turns: b"});
}

TEST_CASE("what is not known is skipped, what is not JSON is kept") {
  claude_adapter a{pane};
  const auto events =
      feed(a, "plain words\r\n"
              "\n"
              "{\"type\":\"new_thing\",\"x\":1}\n"
              "{\"type\":\"assistant\"}\n"
              "{\"type\":\"assistant\",\"message\":{\"content\":\"text\"}}\n"
              "{\"type\":\"assistant\",\"message\":{\"content\":[1,null,{\"type\":"
              "\"text\",\"text\":7}]}}\n"
              "{\"type\":5}\n"
              "[1,2]\n"
              "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_"
              "result\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
              "\"image\"}],\"is_error\":true}]}}\n"
              "{\"type\":\"result\",\"num_turns\":-1,\"usage\":3,\"total_cost_usd\":"
              "\"free\",\"errors\":[\"went wrong\"]}\n");
  CHECK(events
        == strings{"other: plain words", "text: ", "other: [1,2]",
                   "tool_result!: a\n{\"type\":\"image\"}",
                   "usage: 0 usd, 0 in, 0 out, 0 turns: went wrong"});
}

TEST_CASE("long text is cut between characters, an endless line is skipped") {
  claude_adapter a{pane};
  std::string text = "x";
  while (text.size() < 5000)
    text += "é";
  auto events = a.on_output("{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\","
                            "\"text\":\""
                            + text + "\"}]}}\n");
  REQUIRE(events.size() == 1);
  const auto& cut = std::get<agent_block>(events[0]).text;
  CHECK(cut.size() == 4095); // 4096 would end inside a character
  CHECK(text.compare(0, cut.size(), cut) == 0);

  const std::string piece(1024 * 1024, 'y');
  std::size_t told = 0;
  for (int i = 0; i < 20; ++i)
    told += a.on_output(piece).size();
  CHECK(told == 1);
  CHECK(feed(a, "tail\nnext\n") == strings{"other: next"});
}

TEST_CASE("deep nesting and damaged UTF-8 do no harm") {
  claude_adapter a{pane};
  feed(a, std::string(200'000, '[') + "\n");
  const std::string deep(1'000'000, '['), end(1'000'000, ']');
  const auto events =
      feed(a, "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"tool_use\","
              "\"input\":"
                  + deep + end + "}]}}\n");
  REQUIRE(events.size() == 1);
  CHECK(events[0].substr(0, 7) == "other: ");
  CHECK(feed(a, "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"tool_use\",\"name\":"
                "\"\xff\",\"input\":{\"a\":\"\xc3\"}}]}}\n")
            .size()
        == 1);
}

TEST_CASE("damaged output never harms, whatever is damaged and however it is cut") {
  std::mt19937 random{20261122}; // the same bytes at every run
  const std::string files[] = {golden("ok"), golden("denied"), golden("e401"), golden("turns")};
  const std::string special = "{}[]\",:\\\n\r\t 0-eE.\xff\xc3\x80";
  for (int round = 0; round < 400; ++round) {
    auto text = files[random() % std::size(files)];
    for (auto n = random() % 40; n > 0; --n) {
      const auto at = random() % text.size();
      switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text[at] = special[random() % special.size()];
        break;
      case 2:
        text.erase(at, random() % 50);
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 50));
      }
      if (text.empty()) text = "{";
    }
    claude_adapter a{pane};
    for (const auto& e : feed(a, text, 1 + random() % 2000))
      REQUIRE(e.size() < claude_adapter::max_block_bytes + 200);
    const auto v = a.on_exit(static_cast<std::int32_t>(random() % 2), 0);
    REQUIRE((v.result == outcome::completed) == !v.why);
  }
}

TEST_CASE("the plan keeps the key outside and the prompt off the command line") {
  swarm_spec spec;
  spec.agent = agent_kind::claude;
  spec.prompts = {"Do part {index} of {count}."};
  spec.panes = 4;
  spec.env = {{"CLAUDE_CODE_MAX_RETRIES", "1"}, {"ANTHROPIC_API_KEY", "sk-real"}, {"A", "b"}};
  auto p = make_adapter(agent_kind::claude, pane)
               ->plan(spec, {pane, 2, 4, "p2", "http://127.0.0.1:49000"});
  CHECK(p.argv
        == strings{"claude", "-p", "--output-format", "stream-json", "--verbose",
                   "--dangerously-skip-permissions"});
  CHECK(p.stdin_data == "Do part 2 of 4.");
  CHECK_FALSE(p.stdin_open);
  CHECK(p.env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:49000/api.anthropic.com");
  CHECK(p.env["ANTHROPIC_API_KEY"] == key_placeholder);
  CHECK(p.env["CLAUDE_CODE_MAX_RETRIES"] == "1");
  CHECK(p.env["DISABLE_AUTOUPDATER"] == "1");
  CHECK(p.env["A"] == "b");
  CHECK(p.needs_secrets == strings{"ANTHROPIC_API_KEY"});
  REQUIRE(p.gateway.size() == 1);
  CHECK(p.gateway[0].domain == "api.anthropic.com");
  CHECK(p.gateway[0].header == "x-api-key");
  // Not all below /v1: a batch spends what no answer tells.
  CHECK(p.gateway[0].paths
        == std::vector<std::string>{"/v1/messages$", "/v1/messages/count_tokens$", "/v1/models"});
  CHECK(p.program_to_check == "claude");
  CHECK(p.env.count("NODE_EXTRA_CA_CERTS") == 0);
  p = make_adapter(agent_kind::claude, pane)->plan(spec, {pane, 0, 4, "p0", ""});
  CHECK(p.env.count("ANTHROPIC_BASE_URL") == 0);
  CHECK(p.env["NODE_EXTRA_CA_CERTS"] == "/etc/ssl/certs/ca-certificates.crt");
  spec.env["NODE_EXTRA_CA_CERTS"] = "/own.pem";
  CHECK(make_adapter(agent_kind::claude, pane)
            ->plan(spec, {pane, 0, 4, "p0", ""})
            .env["NODE_EXTRA_CA_CERTS"]
        == "/own.pem");
  CHECK_FALSE(takes_input(agent_kind::claude));
}
