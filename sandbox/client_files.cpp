// Files: the REST calls of envd for contents, its RPCs for everything else.
#include "sandbox/client.hpp"
#include "sandbox/client_core.hpp"
#include "sandbox/wire_control.hpp"

#include "messages/crash_point.hpp"
#include "messages/ids.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace skep::sandbox {
namespace {

result<void> check_path(std::string_view path) {
  if (path.empty()) return make_error(errc::bad_argument, "an empty path");
  if (path.find('\0') != std::string_view::npos)
    return make_error(errc::bad_argument, "a NUL in a path");
  return {};
}

/// GET or POST /files about one path.
result<exchange> content_of(remote where, const char* method, const std::string& path,
                            const call_options& options) {
  if (auto good = check_path(path); !good) return good.err();
  return files_exchange(std::move(where), method, path, options.user);
}

result<void> entry_given(std::string_view body) {
  if (auto e = wire::read_entry(body); !e) return e.err();
  return {};
}

error io_error(const std::filesystem::path& path) {
  return make_error(errno == ENOSPC || errno == EDQUOT ? errc::disk_full : errc::io,
                    "cannot write " + path.string(), std::strerror(errno));
}

/// A file on its way down: under a temporary name until it is whole. Engine thread.
class download {
public:
  download(std::filesystem::path to, std::uint64_t cap)
      : to_(std::move(to)), part_(to_.string() + ".part-" + random_token(8)), cap_(cap) {}
  ~download() { discard(); }
  download(const download&) = delete;
  download& operator=(const download&) = delete;

  flow take(std::string_view data) {
    if (size_ + data.size() > cap_) {
      failure_ =
          make_error(errc::too_large, "the file is larger than " + std::to_string(cap_) + " bytes");
      return flow::stop;
    }
    return open() && write(data) ? flow::go_on : flow::stop;
  }

  result<std::uint64_t> commit() {
    if (!open()) return failure_;
    crash_point(crash_kind::file, "download_rename");
    if (::close(std::exchange(fd_, -1)) != 0) failure_ = io_error(part_);
    if (!failure_ && ::rename(part_.c_str(), to_.c_str()) != 0) failure_ = io_error(to_);
    if (failure_) return failure_;
    made_ = false;
    return size_;
  }

  void discard() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (std::exchange(made_, false)) ::unlink(part_.c_str());
  }

  const error& failure() const { return failure_; }

private:
  bool open() {
    if (fd_ >= 0) return true;
    crash_point(crash_kind::file, "download_open");
    fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd_ < 0) failure_ = io_error(part_);
    return made_ = fd_ >= 0;
  }
  bool write(std::string_view data) {
    crash_point(crash_kind::file, "download_write");
    while (!data.empty()) {
      auto n = ::write(fd_, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        failure_ = io_error(part_);
        return false;
      }
      size_ += static_cast<std::uint64_t>(n);
      data.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  const std::filesystem::path to_;
  const std::filesystem::path part_;
  const std::uint64_t cap_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
  bool made_ = false;
  error failure_;
};

} // namespace

result<exchange> files_exchange(remote where, std::string method, std::string_view path,
                                const std::string& user) {
  if (path.find('\0') != std::string_view::npos)
    return make_error(errc::bad_argument, "a NUL in a path");
  exchange out;
  out.method = std::move(method);
  out.path = "/files";
  char between = '?';
  for (auto [name, text] : {std::pair<const char*, std::string_view>{"path", path},
                            std::pair<const char*, std::string_view>{"username", user}}) {
    if (text.empty()) continue;
    out.path += std::exchange(between, '&') + std::string{name} + "=" + wire::url_encode(text);
  }
  out.envd = std::move(where);
  return out;
}

result<exchange> filesystem_rpc(remote where, std::string_view method, const std::string& user,
                                const std::vector<std::pair<std::string, std::string>>& members) {
  for (const auto& member : members)
    if (auto good = check_path(member.second); !good) return good.err();
  auto body = wire::text_body(members);
  if (!body) return body.err();
  return rpc(std::move(where), "filesystem.Filesystem/" + std::string{method}, std::move(*body),
             user);
}

error about_file(error e) {
  if (e.code == errc::not_found) e.code = errc::file_not_found;
  return e;
}

call_id client::upload_file(remote where, file_slice from, std::string to, call_options options,
                            done<void> then) {
  auto plan = content_of(std::move(where), "POST", to, options);
  if (plan) {
    plan->content_type = "application/octet-stream";
    plan->body_file = std::move(from);
    plan->on_sent = std::move(options.on_sent);
  }
  return core_->simple<void>(operation::upload_file, options.deadline, std::move(plan),
                             file_answer<void>(wire::read_uploaded), std::move(then));
}

call_id client::write_file(remote where, std::string path, std::string content,
                           call_options options, done<void> then) {
  auto plan = content_of(std::move(where), "POST", path, options);
  if (plan) {
    plan->content_type = "application/octet-stream";
    plan->body = std::move(content);
  }
  return core_->simple<void>(operation::write_file, options.deadline, std::move(plan),
                             file_answer<void>(wire::read_uploaded), std::move(then));
}

call_id client::read_file(remote where, std::string path, std::uint64_t offset,
                          std::uint64_t length, call_options options, done<file_piece> then) {
  const std::uint64_t cap = core_->limits().read_cap_bytes;
  const auto wanted = length == 0 ? cap : std::min(length, cap);
  auto plan = content_of(std::move(where), "GET", path, options);
  if (plan)
    plan->headers.push_back("Range: bytes=" + std::to_string(offset) + "-"
                            + std::to_string(offset + wanted - 1));
  auto read = [offset, wanted](http_answer& answer, const error& failure) -> result<file_piece> {
    auto range = answer.headers.find("content-range");
    auto size =
        range == answer.headers.end() ? std::nullopt : wire::read_content_range(range->second);
    if (answer.status == 416) return file_piece{{}, size.value_or(0)}; // at or past the end
    if (failure) return about_file(failure);
    if (answer.status == 206) {
      if (!size || answer.body.size() > wanted)
        return make_error(errc::protocol, "not the range that was asked for");
      return file_piece{std::move(answer.body), *size};
    }
    // The whole file: an empty one, or a server without ranges.
    const std::uint64_t whole = answer.body.size();
    if (offset >= whole) return file_piece{{}, whole};
    return file_piece{answer.body.substr(offset, wanted), whole};
  };
  return core_->simple<file_piece>(operation::read_file, options.deadline, std::move(plan), read,
                                   std::move(then));
}

call_id client::download_file(remote where, std::string from, std::filesystem::path to,
                              std::uint64_t cap_bytes, call_options options,
                              done<std::uint64_t> then) {
  auto file = std::make_shared<download>(std::move(to), cap_bytes);
  auto plan = content_of(std::move(where), "GET", from, options);
  if (plan) {
    plan->on_data = [file](std::string_view data) { return file->take(data); };
    plan->silence = core_->limits().of(operation::download_file).deadline;
  }
  return core_->open(
      operation::download_file, options.deadline,
      [file, then](error e) {
        file->discard();
        then(std::move(e));
      },
      [core = core_.get(), plan = std::move(plan), file, then](call_id id) {
        if (!plan) return core->fail(id, plan.err());
        core->send(id, *plan, [core, id, file, then](http_answer&, const error& failure) {
          if (file->failure()) return core->fail(id, file->failure());
          if (failure) return core->fail(id, about_file(failure));
          auto size = file->commit();
          if (!size) return core->fail(id, size.err());
          if (core->settle(id)) then(*size);
        });
      });
}

call_id client::stat(remote where, std::string path, call_options options, done<entry> then) {
  return core_->simple<entry>(
      operation::stat, options.deadline,
      filesystem_rpc(std::move(where), "Stat", options.user, {{"path", path}}),
      file_answer<entry>(wire::read_entry), std::move(then));
}

call_id client::list_dir(remote where, std::string path, std::uint32_t depth, call_options options,
                         done<std::vector<entry>> then) {
  auto plan = filesystem_rpc(std::move(where), "ListDir", options.user, {{"path", path}});
  if (plan) plan->body = *wire::list_dir_body(path, depth);
  return core_->simple<std::vector<entry>>(operation::list_dir, options.deadline, std::move(plan),
                                           file_answer<std::vector<entry>>(wire::read_entries),
                                           std::move(then));
}

call_id client::make_dir(remote where, std::string path, call_options options, done<void> then) {
  auto plan = filesystem_rpc(std::move(where), "MakeDir", options.user, {{"path", path}});
  if (plan) plan->once = true;
  return core_->simple<void>(operation::make_dir, options.deadline, std::move(plan),
                             file_answer<void>(entry_given), std::move(then));
}

call_id client::move(remote where, std::string from, std::string to, call_options options,
                     done<void> then) {
  auto plan = filesystem_rpc(std::move(where), "Move", options.user,
                             {{"source", from}, {"destination", to}});
  if (plan) plan->once = true;
  return core_->simple<void>(operation::move, options.deadline, std::move(plan),
                             file_answer<void>(entry_given), std::move(then));
}

call_id client::remove(remote where, std::string path, call_options options, done<void> then) {
  return core_->simple<void>(
      operation::remove, options.deadline,
      filesystem_rpc(std::move(where), "Remove", options.user, {{"path", path}}),
      file_answer<void>(wire::read_empty), std::move(then));
}

call_id client::health(remote where, done<void> then) {
  exchange plan;
  plan.path = "/health";
  plan.envd = std::move(where);
  return core_->simple<void>(operation::health, by_policy, std::move(plan), status_only(),
                             std::move(then));
}

call_id client::usage(remote where, done<usage_sample> then) {
  exchange plan;
  plan.path = "/metrics";
  plan.envd = std::move(where);
  return core_->simple<usage_sample>(operation::usage, by_policy, std::move(plan),
                                     from_body<usage_sample>(wire::read_usage), std::move(then));
}

} // namespace skep::sandbox
