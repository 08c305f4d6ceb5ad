// filesystem.Filesystem and /files of a simulated sandbox.
#include "host/sim/envd.hpp"

#include "host/envd/connect_rpc.hpp"
#include "host/envd/deflate.hpp"
#include "host/envd/entry_info.hpp"
#include "host/envd/file_answer.hpp"
#include "host/envd/inflate.hpp"
#include "host/envd/multipart.hpp"
#include "host/web_text.hpp"

#include <algorithm>
#include <set>

namespace skep::host::sim {
namespace {

using envd::rpc_code;

constexpr std::size_t upload_limit_bytes = 512u << 20;
constexpr std::size_t file_piece_bytes = 64u << 10;
constexpr int most_links = 16;

/// Empty: no path of this user.
std::string resolved(const std::string& path) {
  if (path.starts_with("~") && path != "~" && !path.starts_with("~/")) return {};
  if (path.starts_with("~")) return normal_path(home_path, path.size() > 2 ? path.substr(2) : "");
  return normal_path(home_path, path);
}

std::string path_of(const json& request, std::string_view field) {
  auto out = resolved(envd::get_string(request, field));
  if (out.empty())
    envd::fail(rpc_code::invalid_argument, "field " + std::string{field} + " is no path");
  return out;
}

std::string target_of(const box& b, std::string path) {
  for (int i = 0; i < most_links; ++i) {
    auto n = b.files.find(path);
    if (!n || n->type != node::kind::symlink) return path;
    path = normal_path(path.substr(0, std::max<std::size_t>(path.rfind('/'), 1)), *n->data);
  }
  return path;
}

json entry_of(const box& b, const std::string& path, const node& own) {
  auto target = own.type == node::kind::symlink ? target_of(b, path) : path;
  auto shown = b.files.find(target);
  json out = json::object();
  out["name"] = path == "/" ? path : path.substr(path.rfind('/') + 1);
  out["type"] = !shown                                 ? "FILE_TYPE_UNSPECIFIED"
                : shown->type == node::kind::directory ? "FILE_TYPE_DIRECTORY"
                                                       : "FILE_TYPE_FILE";
  out["path"] = path;
  if (own.size() > 0) out["size"] = std::to_string(own.size());
  if (shown) out["mode"] = shown->mode;
  mode_t kind = own.type == node::kind::directory ? S_IFDIR
                : own.type == node::kind::symlink ? S_IFLNK
                                                  : S_IFREG;
  out["permissions"] = envd::mode_text(kind | (own.type == node::kind::symlink ? 0777 : own.mode));
  out["owner"] = "user";
  out["group"] = "user";
  out["modifiedTime"] = format_time(own.modified_ms);
  if (target != path && shown) out["symlinkTarget"] = target;
  for (const auto& [key, value] : own.metadata)
    out["metadata"][key] = value;
  return out;
}

json entry_answer(const box& b, const std::string& path) {
  auto n = b.files.find(path);
  if (!n)
    envd::fail(rpc_code::not_found,
               "file not found: lstat " + path + ": no such file or directory");
  return json{{"entry", entry_of(b, path, *n)}};
}

void list_below(const box& b, const std::string& path, std::int64_t depth, json& out) {
  for (const auto& name : b.files.names_in(path)) {
    auto whole = path == "/" ? "/" + name : path + '/' + name;
    auto n = b.files.find(whole);
    if (!n) continue;
    out.push_back(entry_of(b, whole, *n));
    if (n->type == node::kind::directory && depth > 1) list_below(b, whole, depth - 1, out);
  }
}

std::string requested_path(const exchange& x) {
  auto user = x.query("username").value_or("");
  if (!known_user(user)) envd::fail(401, "error looking up user '" + user + "': no such user here");
  auto asked = x.query("path").value_or("");
  auto out = resolved(asked);
  if (out.empty()) envd::fail(400, "path '" + asked + "' is no path of this user");
  return out;
}

task<std::string> upload_body(exchange& x) {
  auto body = co_await x.body(upload_limit_bytes);
  auto encoding = x.header("Content-Encoding");
  if (encoding.empty() || encoding == "identity") co_return body;
  if (encoding != "gzip") envd::fail(400, "unsupported Content-Encoding: " + std::string{encoding});
  std::string out;
  envd::gzip_decoder gzip;
  if (!gzip.feed(body, [&out](std::string_view piece) { out.append(piece); }) || !gzip.complete())
    envd::fail(400, "the body is no gzip");
  co_return out;
}

bool read_strings(const json& from, const char* name, std::vector<std::string>& out) {
  auto i = from.find(name);
  if (i == from.end() || !i->is_array()) return false;
  for (const auto& x : *i) {
    if (!x.is_string()) return false;
    out.push_back(x.get<std::string>());
  }
  return true;
}

json store(box& b, const std::string& path, std::string bytes, const labels& metadata) {
  if (!b.files.write(path, b.world.share(std::move(bytes)), 0644, metadata))
    envd::fail(400, "path '" + path + "' is a directory");
  json out{{"path", path}, {"name", path.substr(path.rfind('/') + 1)}, {"type", "file"}};
  for (const auto& [key, value] : metadata)
    out["metadata"][key] = value;
  return out;
}

json store_form(box& b, std::string_view type, const std::optional<std::string>& path,
                std::string_view body, const labels& metadata) {
  std::string boundary;
  if (!envd::header_parameter(type, "boundary", boundary) || boundary.empty())
    envd::fail(400, "the multipart body has no boundary");
  json written = json::array();
  std::set<std::string> seen;
  std::optional<std::string> target;
  std::string bytes;
  envd::multipart_reader::handlers handlers;
  handlers.begin = [&](const std::map<std::string, std::string>& headers) {
    target.reset();
    bytes.clear();
    auto i = headers.find("content-disposition");
    std::string name, filename;
    if (i == headers.end() || !envd::header_parameter(i->second, "name", name) || name != "file")
      return;
    envd::header_parameter(i->second, "filename", filename);
    target = path ? *path : resolved(filename);
    if (target->empty() || (!path && filename.empty()))
      envd::fail(400, "a part has no file name that is a path of this user");
    if (!seen.insert(*target).second)
      envd::fail(400, "you cannot upload multiple files to the same path '" + *target + "'");
  };
  handlers.data = [&](std::string_view piece) {
    if (target) bytes.append(piece);
  };
  handlers.end = [&] {
    if (target) written.push_back(store(b, *target, std::move(bytes), metadata));
    bytes = {};
  };
  envd::multipart_reader reader(boundary, std::move(handlers));
  if (!reader.feed(body) || !reader.done()) envd::fail(400, "the multipart body is malformed");
  return written;
}

} // namespace

json files_stat(box& b, const json& request) {
  return entry_answer(b, path_of(request, "path"));
}

json files_list(box& b, const json& request) {
  auto path = target_of(b, path_of(request, "path"));
  auto depth = std::max<std::int64_t>(envd::get_int(request, "depth"), 1);
  if (!b.files.find(path))
    envd::fail(rpc_code::not_found, "file not found: stat " + path + ": no such file or directory");
  if (!b.files.is_directory(path))
    envd::fail(rpc_code::invalid_argument, "path is not a directory: " + path);
  json entries = json::array();
  list_below(b, path, depth, entries);
  json out = json::object();
  if (!entries.empty()) out["entries"] = std::move(entries);
  return out;
}

json files_make_dir(box& b, const json& request) {
  auto path = path_of(request, "path");
  if (b.files.is_directory(path))
    envd::fail(rpc_code::already_exists, "directory already exists: " + path);
  if (!b.files.make_directory(path))
    envd::fail(rpc_code::invalid_argument,
               "path already exists but it is not a directory: " + path);
  return entry_answer(b, path);
}

json files_move(box& b, const json& request) {
  auto source = path_of(request, "source"), destination = path_of(request, "destination");
  entry_answer(b, source); // not_found
  if (!b.files.move(source, destination))
    envd::fail(rpc_code::internal, "error renaming " + source + " to " + destination);
  return entry_answer(b, destination);
}

json files_remove(box& b, const json& request) {
  b.files.remove(path_of(request, "path"));
  return json::object();
}

task<void> files_get(envd_call& c) {
  auto& x = c.x;
  auto asked = requested_path(x);
  auto n = c.where->files.find(target_of(*c.where, asked));
  if (!n) envd::fail(404, "path '" + asked + "' does not exist");
  if (n->type != node::kind::file) envd::fail(400, "path '" + asked + "' is a directory");
  // A copy of what it is now: a log may grow while it is sent.
  auto data = n->data;
  auto plan = envd::plan_answer(x, asked.substr(asked.rfind('/') + 1), data->size(),
                                n->modified_ms / 1000, std::string_view{*data}.substr(0, 512));
  if (co_await envd::send_head(x, plan)) co_return;
  if (plan.packed) {
    envd::gzip_encoder gzip;
    auto out = gzip.feed(*data, true);
    co_await x.write(out);
    co_await x.end_stream();
    co_return;
  }
  const auto range = plan.range;
  for (auto at = range.begin; at < range.end;) {
    auto piece = data->substr(at, std::min<std::uint64_t>(file_piece_bytes, range.end - at));
    at += piece.size();
    co_await x.write(piece);
  }
}

task<void> files_post(envd_call& c) {
  auto& x = c.x;
  auto path = requested_path(x);
  bool named = x.query("path").has_value();
  auto metadata = x.headers_from("x-metadata-");
  std::string type{x.header("Content-Type")};
  bool form = type.starts_with("multipart/form-data");
  if (!form && !type.starts_with("application/octet-stream"))
    envd::fail(400, "unsupported Content-Type: " + type);
  if (!form && !named) envd::fail(400, "the query parameter 'path' is required");
  auto bytes = co_await upload_body(x);
  json written = json::array();
  if (form)
    written =
        store_form(*c.where, type, named ? std::optional{path} : std::nullopt, bytes, metadata);
  else
    written.push_back(store(*c.where, path, std::move(bytes), metadata));
  auto body = envd::dump(written);
  co_await x.reply(200, "text/plain; charset=utf-8", body);
}

task<void> files_compose(envd_call& c) {
  auto text = co_await c.x.body(upload_limit_bytes);
  auto j = json::parse(text, nullptr, false);
  std::vector<std::string> sources;
  if (!j.is_object() || !read_strings(j, "source_paths", sources) || sources.empty()
      || !j.contains("destination") || !j["destination"].is_string())
    envd::fail(400, "source_paths and destination are required");
  auto destination = resolved(j["destination"].get<std::string>());
  if (destination.empty()) envd::fail(400, "the destination is no path of this user");
  auto& files = c.where->files;
  std::string bytes;
  for (auto& source : sources) {
    auto path = resolved(source);
    auto n = files.find(path);
    if (path.empty() || !n) envd::fail(404, "path '" + source + "' does not exist");
    if (n->type != node::kind::file) envd::fail(400, "path '" + source + "' is not a regular file");
    bytes += *n->data;
    source = path;
  }
  auto written = store(*c.where, destination, std::move(bytes), {});
  for (const auto& source : sources)
    if (source != destination) files.remove(source);
  auto body = envd::dump(written);
  co_await c.x.reply(200, "application/json", body);
}

} // namespace skep::host::sim
