// Keys that are replaced while skepd runs: its clients of providers, and its mask.
#include "storage/state_dir.hpp"
#include "tests/sandbox/client_fixture.hpp"
#include "tools/skepd/providers.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

/// The secrets of a daemon, in a folder of their own.
struct secrets_world {
  scratch dir;
  storage::state_paths paths{dir.path, dir.path};
  std::shared_ptr<storage::secret_store> store = std::make_shared<storage::secret_store>(paths);
  std::shared_ptr<tools::secret_guard> guard =
      std::make_shared<tools::secret_guard>(paths.secrets(), store);

  void set(const char* name, const std::string& value) { REQUIRE(store->set(name, value)); }
};

/// A provider that takes one key, and what skepd has of it.
struct keyed_world : secrets_world {
  watched<std::string> good{"key-before-4711"};
  script_server server{[this](peer& p, const request& r) {
    if (r.header("x-api-key") != good.get())
      return void(p.answer(401, R"({"code":401,"message":"no )" + r.header("x-api-key") + "\"}"));
    p.answer(204);
  }};
  tools::providers known;

  keyed_world() : known{config_of(server.url()), {}, guard, std::make_shared<http_engine>()} {}

  static tools::config config_of(const std::string& url) {
    tools::config out;
    out.providers["far"].api_url = url;
    out.providers["far"].key_secret = "FAR_KEY";
    return out;
  }
  result<bool> kill(const std::shared_ptr<sandbox::api>& at) {
    return await<bool>([&](auto then) { at->kill("i1", then); });
  }
};

} // namespace

TEST_CASE_METHOD(keyed_world,
                 "a key that is replaced counts from the next request of a client on, also of one "
                 "that a sandbox holds already") {
  CHECK(known.connect("far").err().code == errc::secret_missing);
  CHECK(known.key_secret("far") == "FAR_KEY");
  CHECK(known.key_secret("local").empty());
  set("FAR_KEY", "key-before-4711");
  auto held = known.connect("far");
  REQUIRE(held);
  CHECK(kill(*held));
  good.change([](std::string& key) { key = "key-after-0815"; });
  auto refused = kill(*held);
  CHECK(refused.err().code == errc::auth);
  CHECK(refused.err().cause == "no [key]");
  set("FAR_KEY", "key-after-0815");
  CHECK(kill(*held));
  CHECK(kill(*known.connect("far")));
}

TEST_CASE_METHOD(keyed_world, "a key that was removed still ends what runs") {
  set("FAR_KEY", "key-before-4711");
  auto held = known.connect("far");
  REQUIRE(held);
  REQUIRE(store->remove("FAR_KEY"));
  CHECK(kill(*held));
  CHECK(known.connect("far"));
}

TEST_CASE_METHOD(secrets_world, "a value that was replaced or removed stays masked") {
  set("A_KEY", "first-value-1");
  CHECK((*guard)("is first-value-1") == "is *************");
  set("A_KEY", "second-value-2");
  CHECK((*guard)("first-value-1 second-value-2") == "************* **************");
  CHECK(guard->value("A_KEY") == "second-value-2");
  REQUIRE(store->remove("A_KEY"));
  CHECK(guard->value("A_KEY").empty());
  CHECK((*guard)("first-value-1 second-value-2") == "************* **************");
  CHECK(guard->seen() == std::vector<std::string>{"first-value-1", "second-value-2"});
}

TEST_CASE_METHOD(secrets_world, "a value that was asked for alone, between two texts, is masked") {
  set("A_KEY", "first-value-1");
  CHECK(guard->value("A_KEY") == "first-value-1");
  REQUIRE(store->remove("A_KEY"));
  CHECK((*guard)("is first-value-1") == "is *************");
}
