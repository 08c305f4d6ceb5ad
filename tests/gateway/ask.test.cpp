// What is read of a request on its way to a model.
#include "host/gateway/ask.hpp"
#include "tests/support/catch.hpp"

#include <string>
#include <string_view>

using namespace skep::host;

TEST_CASE("model and bounds are read from a request that is cut anywhere, at their places alone") {
  const std::string body =
      R"({"messages":[{"model":"no","max_tokens":9000000}, "\"model\":\"no\", {[\\"],)"
      R"( "metadata":{"model":"no","max_output_tokens":9000000},)"
      R"( "\u006dodel" : "m\/1-\u0041\n", "max_completion_tokens":20, "max_tokens" : 300 ,)"
      R"( "temperature":-1.5e3, "n":2})";
  for (std::size_t cut = 0; cut <= body.size(); ++cut) {
    gate::ask_reader r("/v1/messages");
    r.feed(std::string_view{body}.substr(0, cut));
    r.feed(std::string_view{body}.substr(cut));
    REQUIRE(r.model() == "m/1-A?");
    REQUIRE(r.output_tokens() == 600);
    REQUIRE(r.input_tokens() == (body.size() + 3) / 4);
  }
}

TEST_CASE("a request that names no bound, or an absurd one, has one all the same") {
  auto asked = [](const std::string& body, const char* target = "/v1/x") {
    gate::ask_reader r(target);
    r.feed(body);
    return r.output_tokens();
  };
  CHECK(asked("") == 4096);
  CHECK(asked("{}") == 4096);
  CHECK(asked(R"({"max_tokens":-5})") == 4096);
  CHECK(asked(R"({"max_tokens":true})") == 4096);
  CHECK(asked(R"({"max_tokens":1e3})") == 1000);
  CHECK(asked(R"({"max_tokens":1e999})") == 100'000'000);
  CHECK(asked(R"({"max_output_tokens":7})") == 7);
  CHECK(asked(R"({"max_tokens":9,"max_tokens":1})") == 9);
  CHECK(asked(R"({"generationConfig":{"x":[1],"maxOutputTokens":77},"a":1})") == 77);
  CHECK(asked(R"({"other":{"maxOutputTokens":77}})") == 4096);
  CHECK(asked(R"([{"max_tokens":5}])") == 4096);
}

TEST_CASE("a model in the path goes before one in the body, and what is no JSON may name one") {
  gate::ask_reader gemini("/v1beta/models/gemini-x:streamGenerateContent?alt=sse");
  gemini.feed(R"({"model":"cheap"})");
  CHECK(gemini.model() == "gemini-x");
  gate::ask_reader listed("/v1/models/x");
  CHECK(listed.model().empty());
  CHECK_FALSE(listed.may_name_model());
  listed.feed("\x28\xb5\x2f\xfd packed");
  CHECK(listed.model().empty());
  CHECK(listed.may_name_model());
  gate::ask_reader plain("/v1/files");
  plain.feed(R"({"title":"x"})");
  CHECK_FALSE(plain.may_name_model());
  gate::ask_reader long_name("/v1/messages");
  long_name.feed("{\"model\":\"" + std::string(500, 'm') + "\xc3\xa4\"}");
  CHECK(long_name.model() == std::string(100, 'm'));
}

TEST_CASE("only what a model works on may cost") {
  CHECK(gate::may_cost("POST", "/v1/messages?beta=true"));
  CHECK(gate::may_cost("POST", "/v1/messages?x=/count_tokens"));
  CHECK(gate::may_cost("POST", "/v1beta/models/x:generateContent"));
  CHECK_FALSE(gate::may_cost("GET", "/v1/messages"));
  CHECK_FALSE(gate::may_cost("POST", "/v1/messages/count_tokens?beta=true"));
  CHECK_FALSE(gate::may_cost("POST", "/v1beta/models/x:countTokens"));
  CHECK_FALSE(gate::may_cost("POST", "/v1/responses/input_tokens"));
}
