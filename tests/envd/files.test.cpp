#include "tests/envd/envd_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fstream>
#include <random>
#include <sstream>
#include <sys/xattr.h>
#include <zlib.h>

using namespace skep;
using namespace skep::test;

namespace {
std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
std::string noise(std::size_t size) {
  std::mt19937_64 random(7);
  std::string out(size, '\0');
  for (auto& c : out)
    c = static_cast<char>(random());
  return out;
}
std::string gzip(std::string_view text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}
std::string part(const std::string& disposition, const std::string& body) {
  return "--bound\r\nContent-Disposition: form-data; " + disposition
         + "\r\nContent-Type: application/octet-stream\r\n\r\n" + body + "\r\n";
}
const std::string octets = "Content-Type: application/octet-stream\r\n";
const std::string form = "Content-Type: multipart/form-data; boundary=bound\r\n";
json entry_of(const answer& a) {
  return json::parse(a.body).at("entry");
}
} // namespace

TEST_CASE("everything but health needs the access token", "[owasp-a01]") {
  envd_process e;
  e.token.clear();
  CHECK(e.request("GET", "/health").status == 204);
  auto refused = e.unary("process.Process/List", json::object());
  CHECK(refused.status == 401);
  CHECK(refused.headers.at("content-type") == "application/json; charset=utf-8");
  CHECK(json::parse(refused.body)
        == json{{"code", 401},
                {"message", "unauthorized access, please provide a valid access token or method "
                            "signing if supported"}});
  CHECK(e.request("GET", "/envs").status == 401);
  CHECK(json::parse(e.request("GET", "/files?path=/etc/passwd").body).at("message")
        == "missing signature query parameter");
  e.token = "tok_envx";
  CHECK(json::parse(e.request("GET", "/files?path=/etc/passwd").body).at("message")
        == "access token present in header but does not match");
  CHECK(e.unary("process.Process/List", json::object()).status == 401);
  envd_process open(json{{"accessToken", ""}});
  open.token.clear();
  CHECK(open.unary("process.Process/List", json::object()).body == "{}");
}

TEST_CASE("ten megabytes go up in chunks and come back the same") {
  envd_process e;
  auto bytes = noise(10'000'000);
  auto path = e.dir / "deep/er/big.bin";
  auto c = e.connect();
  c.send(e.head("POST /files?path=" + path, octets) + "Transfer-Encoding: chunked\r\n\r\n");
  for (std::size_t at = 0; at < bytes.size(); at += 99'991) {
    auto piece = bytes.substr(at, 99'991);
    std::ostringstream line;
    line << std::hex << piece.size() << "\r\n";
    c.send(line.str() + piece + "\r\n");
  }
  c.send("0\r\n\r\n");
  auto up = c.read_answer();
  CHECK(up.status == 200);
  CHECK(up.body == R"([{"path":")" + path + R"(","name":"big.bin","type":"file"}])");
  CHECK(read_file(path) == bytes);
  // The same connection serves the way back.
  c.send(e.head("GET /files?path=" + path, "") + "\r\n");
  auto down = c.read_answer();
  CHECK(down.status == 200);
  CHECK(down.body == bytes);
}

TEST_CASE("a multipart upload takes the whole path from the file name") {
  envd_process e;
  auto a = e.dir / "x/y/a b.txt";
  auto body = part("name=\"file\"; filename=\"" + a + "\"", "hello")
              + part("name=\"other\"; filename=\"/nowhere\"", "skipped")
              + part("name=\"file\"; filename=\"rel/empty\"", "") + "--bound--\r\n";
  auto up = e.request("POST", "/files", form, body);
  CHECK(up.status == 200);
  auto list = json::parse(up.body);
  REQUIRE(list.size() == 2);
  CHECK(list[0] == json{{"path", a}, {"name", "a b.txt"}, {"type", "file"}});
  CHECK(list[1].at("path") == e.dir / "home/rel/empty");
  CHECK(read_file(a) == "hello");
  CHECK(std::filesystem::file_size(e.dir / "home/rel/empty") == 0);

  // With `path` in the query that is the target, with + and %20 as spaces.
  auto named = part("name=\"file\"; filename=\"/ignored\"", "\r\n--boun\r\n--") + "--bound--\r\n";
  auto up2 = e.request("POST", "/files?path=" + (e.dir / "q+r%20s"), form, named);
  CHECK(up2.status == 200);
  CHECK(read_file(e.dir / "q r s") == "\r\n--boun\r\n--");
}

TEST_CASE("a multipart body may be cut anywhere") {
  envd_process e;
  auto content = std::string("a\r\n--bou\r\r\n-") + std::string(500, 'z');
  auto body =
      part("name=\"file\"; filename=\"" + (e.dir / "cut") + "\"", content) + "--bound--\r\n";
  auto c = e.connect();
  c.send(e.head("POST /files", form) + "Content-Length: " + std::to_string(body.size())
         + "\r\n\r\n");
  for (char byte : body)
    c.send({&byte, 1});
  CHECK(c.read_answer().status == 200);
  CHECK(read_file(e.dir / "cut") == content);
}

TEST_CASE("uploads that make no sense are refused and the connection stays usable") {
  envd_process e;
  auto twice = part("name=\"file\"; filename=\"t\"", "1")
               + part("name=\"file\"; filename=\"t\"", "2") + "--bound--\r\n";
  struct row {
    std::string target;
    std::string headers;
    std::string body;
    int status;
  };
  const row rows[] = {
      {"/files", octets, "x", 400},
      {"/files?path=/tmp", octets, "x", 400},
      {"/files?path=a", "Content-Type: text/plain\r\n", "x", 400},
      {"/files?path=a", octets + "Content-Encoding: br\r\n", "x", 400},
      {"/files?path=a", octets + "Content-Encoding: gzip\r\n", "no gzip", 400},
      {"/files", form, twice, 400},
      {"/files", form, part("name=\"file\"; filename=\"u\"", "cut"), 400},
      {"/files", "Content-Type: multipart/form-data\r\n", "x", 400},
      {"/files?path=~other/x", octets, "x", 400},
      {"/files?path=a&username=zz", octets, "x", 401},
      {"/files?path=a", octets + "X-Metadata-K: \xc3\xa9\r\n", "x", 400},
  };
  auto c = e.connect();
  for (const auto& r : rows) {
    CAPTURE(r.target, r.headers);
    c.send(e.head("POST " + r.target, r.headers)
           + "Content-Length: " + std::to_string(r.body.size()) + "\r\n\r\n" + r.body);
    auto a = c.read_answer();
    CHECK(a.status == r.status);
    CHECK(json::parse(a.body).at("code") == r.status);
    CHECK(a.body.ends_with("\n"));
    CHECK(a.headers.at("x-content-type-options") == "nosniff");
  }
}

TEST_CASE("a gzip body is decoded on the way to disk") {
  envd_process e;
  auto text = std::string(300'000, 'a') + noise(5000);
  auto path = e.dir / "z";
  auto up =
      e.request("POST", "/files?path=" + path, octets + "Content-Encoding: gzip\r\n", gzip(text));
  CHECK(up.status == 200);
  CHECK(read_file(path) == text);
}

TEST_CASE("an upload waits for 100 Continue when the client does") {
  envd_process e;
  auto c = e.connect();
  c.send(e.head("POST /files?path=" + (e.dir / "c"), octets)
         + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(c.take_through("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("ok");
  CHECK(c.read_answer().status == 200);
  CHECK(read_file(e.dir / "c") == "ok");
}

TEST_CASE("downloads honour ranges and conditions") {
  envd_process e;
  auto path = e.dir / "r.txt";
  write_file(path, "0123456789");
  auto target = "/files?path=" + path;
  auto whole = e.request("GET", target);
  CHECK(whole.status == 200);
  CHECK(whole.headers.at("accept-ranges") == "bytes");
  CHECK(whole.headers.at("content-type") == "text/plain; charset=utf-8");
  CHECK(whole.headers.at("content-disposition") == "inline; filename=\"r.txt\"");
  struct row {
    const char* range;
    int status;
    const char* body;
    const char* content_range;
  };
  const row rows[] = {
      {"bytes=2-4", 206, "234", "bytes 2-4/10"}, {"bytes=7-", 206, "789", "bytes 7-9/10"},
      {"bytes=-3", 206, "789", "bytes 7-9/10"},  {"bytes=0-99", 206, "0123456789", "bytes 0-9/10"},
      {"bytes=9-9", 206, "9", "bytes 9-9/10"},   {"bytes=-99", 206, "0123456789", "bytes 0-9/10"},
      {"bytes=10-", 416, nullptr, "bytes */10"}, {"bytes=0-1,3-4", 200, "0123456789", nullptr},
      {"lines=1-2", 200, "0123456789", nullptr}, {"bytes=4-2", 200, "0123456789", nullptr},
  };
  for (const auto& r : rows) {
    CAPTURE(r.range);
    auto a = e.request("GET", target, std::string{"Range: "} + r.range + "\r\n");
    CHECK(a.status == r.status);
    if (r.body) CHECK(a.body == r.body);
    CHECK((r.content_range ? a.headers["content-range"] == r.content_range
                           : !a.has("content-range")));
  }
  auto seen = "If-Modified-Since: " + whole.headers.at("last-modified") + "\r\n";
  CHECK(e.request("GET", target, seen).status == 304);
  auto head = e.request("HEAD", target);
  CHECK(head.status == 200);
  CHECK(head.headers.at("content-length") == "10");

  auto missing = e.request("GET", "/files?path=/no/such");
  CHECK(missing.status == 404);
  CHECK(missing.body == "{\"code\":404,\"message\":\"path '/no/such' does not exist\"}\n");
  CHECK(e.request("GET", "/files?path=/tmp").status == 400);
  CHECK(e.request("GET", "/files?path=/dev/null").status == 400);
  CHECK(e.request("GET", "/files?path=%00").status == 400);
  CHECK(e.request("GET", "/files?path=%zz").status == 400);
}

TEST_CASE("upload metadata becomes extended attributes and comes back") {
  envd_process e;
  auto path = e.dir / "m";
  write_file(path, "");
  if (::setxattr(path.c_str(), "user.probe", "1", 1, 0) != 0) {
    WARN("this file system has no user attributes");
    return;
  }
  auto up = e.request("POST", "/files?path=" + path, octets + "X-Metadata-Foo: bar\r\n", "x");
  CHECK(json::parse(up.body)[0].at("metadata") == json{{"foo", "bar"}});
  auto stat = e.unary("filesystem.Filesystem/Stat", {{"path", path}});
  CHECK(entry_of(stat).at("metadata") == json{{"foo", "bar"}});
  e.request("POST", "/files?path=" + path, octets, "y");
  CHECK(!entry_of(e.unary("filesystem.Filesystem/Stat", {{"path", path}})).contains("metadata"));
}

TEST_CASE("Stat tells what a path is") {
  envd_process e;
  auto path = e.dir / "home/f";
  write_file(path, "12345");
  std::filesystem::permissions(path, std::filesystem::perms(0640));
  std::filesystem::create_symlink("f", e.dir / "home/l");
  std::filesystem::create_symlink("nothing", e.dir / "home/dangling");
  auto f = entry_of(e.unary("filesystem.Filesystem/Stat", {{"path", "f"}}));
  CHECK(f.at("name") == "f");
  CHECK(f.at("path") == path);
  CHECK(f.at("type") == "FILE_TYPE_FILE");
  CHECK(f.at("size") == "5");
  CHECK(f.at("mode") == 0640);
  CHECK(f.at("permissions") == "-rw-r-----");
  CHECK(f.at("owner") == "user");
  CHECK(f.at("modifiedTime").get<std::string>().ends_with("Z"));
  auto l = entry_of(e.unary("filesystem.Filesystem/Stat", {{"path", "~/l"}}));
  CHECK(l.at("type") == "FILE_TYPE_FILE");
  CHECK(l.at("mode") == 0640);
  CHECK(l.at("permissions") == "Lrwxrwxrwx");
  CHECK(l.at("symlinkTarget") == path);
  auto d = entry_of(e.unary("filesystem.Filesystem/Stat", {{"path", "dangling"}}));
  CHECK(d.at("type") == "FILE_TYPE_UNSPECIFIED");
  CHECK(!d.contains("mode"));
  auto none = e.unary("filesystem.Filesystem/Stat", {{"path", "/no/such"}});
  CHECK(none.status == 404);
  CHECK(json::parse(none.body)
        == json{{"code", "not_found"},
                {"message", "file not found: lstat /no/such: no such file or directory"}});
}

TEST_CASE("ListDir lists depth first, in order, without following links") {
  envd_process e;
  auto root = e.dir / "home";
  for (const char* d : {"a", "a/b", "a/b/c", "z"})
    std::filesystem::create_directory(root + '/' + d);
  write_file(root + "/a/1", "");
  write_file(root + "/m", "");
  std::filesystem::create_directory_symlink("a", root + "/k");
  std::filesystem::create_directory_symlink(root, e.dir / "link");
  auto names = [&](const std::string& path, int depth) {
    json request{{"path", path}};
    if (depth > 0) request["depth"] = depth;
    std::vector<std::string> out;
    auto list = json::parse(e.unary("filesystem.Filesystem/ListDir", request).body);
    for (auto& x : list.at("entries"))
      out.push_back(x.at("path").get<std::string>().substr(path.size()));
    return out;
  };
  CHECK(names(root, 0) == std::vector<std::string>{"/a", "/k", "/m", "/z"});
  CHECK(names(root, 2) == std::vector<std::string>{"/a", "/a/1", "/a/b", "/k", "/m", "/z"});
  CHECK(names(e.dir / "link", 3)
        == std::vector<std::string>{"/a", "/a/1", "/a/b", "/a/b/c", "/k", "/m", "/z"});
  CHECK(e.unary("filesystem.Filesystem/ListDir", {{"path", root + "/z"}}).body == "{}");
  auto code = [&](const std::string& path) {
    auto a = e.unary("filesystem.Filesystem/ListDir", {{"path", path}});
    return json::parse(a.body).at("code").get<std::string>();
  };
  CHECK(code("/no/such") == "not_found");
  CHECK(code(root + "/m") == "invalid_argument");
}

TEST_CASE("directories are made, moved and removed") {
  envd_process e;
  auto call = [&](const char* method, const json& request) {
    return e.unary(std::string{"filesystem.Filesystem/"} + method, request);
  };
  auto code = [](const answer& a) { return json::parse(a.body).at("code").get<std::string>(); };
  auto made = call("MakeDir", {{"path", "p/q"}});
  CHECK(made.status == 200);
  CHECK(entry_of(made).at("type") == "FILE_TYPE_DIRECTORY");
  CHECK(entry_of(made).at("permissions") == "drwxr-xr-x");
  auto again = call("MakeDir", {{"path", "p/q"}});
  CHECK(again.status == 409);
  CHECK(code(again) == "already_exists");
  write_file(e.dir / "home/p/q/f", "1");
  CHECK(code(call("MakeDir", {{"path", "p/q/f"}})) == "invalid_argument");
  auto moved = call("Move", {{"source", "p/q/f"}, {"destination", "n/e/w"}});
  CHECK(moved.status == 200);
  CHECK(entry_of(moved).at("path") == e.dir / "home/n/e/w");
  CHECK(code(call("Move", {{"source", "p/q/f"}, {"destination", "x"}})) == "not_found");
  CHECK(call("Remove", {{"path", "p"}}).body == "{}");
  CHECK(!std::filesystem::exists(e.dir / "home/p"));
  CHECK(call("Remove", {{"path", "p"}}).body == "{}");
}

TEST_CASE("a thousand short requests share a connection") {
  envd_process e;
  auto c = e.connect();
  auto request = e.head("POST /process.Process/List", "Content-Type: application/json\r\n")
                 + "Content-Length: 2\r\n\r\n{}";
  for (int i = 0; i < 1000; ++i) {
    c.send(request);
    REQUIRE(c.read_answer().body == "{}");
  }
}

TEST_CASE("metrics and environment are told") {
  envd_process e(json{{"envVars", {{"K", "V"}}}});
  auto m = json::parse(e.request("GET", "/metrics").body);
  CHECK(m.at("cpu_count").get<int>() > 0);
  CHECK(m.at("mem_total").get<std::uint64_t>() > 0);
  CHECK(json::parse(e.request("GET", "/envs").body).at("K") == "V");
  CHECK(e.request("OPTIONS", "/files").status == 204);
  CHECK(e.request("GET", "/health").headers.at("access-control-allow-origin") == "*");
}

TEST_CASE("the loopback port inside leads to the gateway's socket") {
  temp_dir outside;
  int gateway = listen_unix(outside / "gateway");
  int port = 0;
  { port = tcp_listener{}.port(); }
  envd_process e(json{{"gatewayPort", port}}, {"--gateway-socket", outside / "gateway"});
  CHECK(e.request("GET", "/health").status == 204); // it listens now
  auto inside = raw_connection::to_port(port);
  await_fd(gateway, POLLIN);
  raw_connection there(::accept4(gateway, nullptr, nullptr, SOCK_CLOEXEC));
  inside.send("question");
  CHECK(there.take(8) == "question");
  there.send("answer");
  there.close();
  CHECK(inside.take(6) == "answer");
  CHECK(inside.at_end());
  ::close(gateway);
}

TEST_CASE("CONNECT reaches a port of the sandbox and nothing else") {
  envd_process e;
  tcp_listener inside;
  auto c = e.connect();
  c.send("CONNECT 127.0.0.1:" + std::to_string(inside.port())
         + " HTTP/1.1\r\nX-Access-Token: tok_envd\r\n\r\nearly");
  auto there = inside.accept();
  CHECK(there.take(5) == "early");
  CHECK(c.read_header().status == 200);
  there.send("back");
  CHECK(c.take(4) == "back");
  auto gateway = e.connect();
  gateway.send("CONNECT 127.0.0.1:49984 HTTP/1.1\r\n\r\n");
  CHECK(gateway.read_answer().status == 403);
  for (const char* target : {"192.0.2.1:80", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1"}) {
    auto refused = e.connect();
    refused.send(std::string{"CONNECT "} + target + " HTTP/1.1\r\n\r\n");
    CHECK(refused.read_answer().status == 400);
  }
}
