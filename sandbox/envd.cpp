#include "sandbox/envd.hpp"

#include "messages/json.hpp"
#include "sandbox/client_core.hpp"
#include "sandbox/client_process.hpp"
#include "sandbox/wire_envd.hpp"

#include <openssl/sha.h>

#include <array>

namespace skep::sandbox {
namespace {

/// An RPC about one process, by its selector.
result<exchange> about(remote where, const char* method, const process_selector& which,
                       std::string_view more = {}) {
  auto body = wire::selector_body(which, more);
  if (!body) return body.err();
  return rpc(std::move(where), std::string{"process.Process/"} + method, std::move(*body));
}

result<exchange> with_body(remote where, const char* method, result<std::string> body,
                           const std::string& user = {}) {
  if (!body) return body.err();
  return rpc(std::move(where), std::string{"filesystem.Filesystem/"} + method, std::move(*body),
             user);
}

/// A header's value and name must not end it; the engine refuses control characters.
result<void> add_metadata(exchange& plan, const std::map<std::string, std::string>& metadata) {
  for (const auto& [name, text] : metadata) {
    if (name.empty() || name.find_first_of(": \t") != std::string::npos)
      return make_error(errc::bad_argument, "not a name of metadata");
    plan.headers.push_back("X-Metadata-" + name + ": " + text);
  }
  return {};
}

/// One WatchDir stream.
class watch_stream : public connect_stream {
public:
  watch_stream(client_core& core, call_id id, std::shared_ptr<watch_handlers> then)
      : connect_stream(core, id, operation::watch_dir), then_(std::move(then)) {}

  void start(const remote& where, const std::string& body, const watch_options& options) {
    std::optional<std::chrono::milliseconds> whole;
    if (options.limit.count() > 0) whole = options.limit + core_.limits().command_grace;
    open(where, "filesystem.Filesystem/WatchDir", body, options.user, options.limit, whole);
  }

protected:
  void message(std::string_view payload) override {
    auto event = wire::read_watch_event(payload);
    if (!event) return broken(event.err());
    if (event->start && !started()) {
      mark_started();
      if (then_->on_start) then_->on_start();
    }
    if (event->what && !then_->on_change(*event->what)) pause();
  }
  void ended_well() override {
    if (core_.settle(id_)) then_->on_end({});
  }
  void explain(error& why) override {
    if (why.code == errc::not_found) why.code = errc::file_not_found;
  }

private:
  const std::shared_ptr<watch_handlers> then_;
};

std::string file_url(const std::string& base, const char* operation, const remote& where,
                     const std::string& path, const signed_url_options& options) {
  std::string query;
  auto add = [&](const char* name, const std::string& text) {
    if (!text.empty())
      query += (query.empty() ? "?" : "&") + std::string{name} + "=" + wire::url_encode(text);
  };
  add("username", options.user);
  add("path", path);
  if (!where.access_token.empty()) {
    std::optional<std::int64_t> expires;
    if (options.expires) expires = wire::unix_ms(*options.expires) / 1000;
    add("signature", file_signature(path, operation, options.user, where.access_token, expires));
    if (expires) add("signature_expiration", std::to_string(*expires));
  }
  return base + "/files" + query;
}

} // namespace

call_id envd::connect_process(remote where, process_selector which, std::chrono::milliseconds limit,
                              stream_handlers handlers) {
  auto shared = std::make_shared<stream_handlers>(std::move(handlers));
  command what;
  what.limit = limit;
  std::optional<std::chrono::milliseconds> whole;
  if (limit.count() > 0) whole = limit + core_->limits().command_grace;
  return core_->open(
      operation::connect_process, {}, [shared](error e) { shared->on_end(std::move(e)); },
      [core = core_.get(), where = std::move(where), body = wire::selector_body(which), what,
       shared, whole](call_id id) {
        if (!body) return core->fail(id, body.err());
        std::make_shared<process_stream>(*core, id, operation::connect_process, where, what,
                                         callbacks_of(shared))
            ->attach(*body, whole);
      });
}

call_id envd::send_input(remote where, process_selector which, std::string data, bool to_pty,
                         done<void> then) {
  return core_->simple<void>(
      operation::send_input, by_policy,
      once(about(std::move(where), "SendInput", which, wire::input_member(data, to_pty))),
      empty_answer(), std::move(then));
}

call_id envd::stream_input(remote where, process_selector which, std::vector<std::string> pieces,
                           bool to_pty, done<void> then) {
  auto plan = [&]() -> result<exchange> {
    auto body = wire::input_envelopes(which, pieces, to_pty);
    if (!body) return body.err();
    auto out = rpc(std::move(where), "process.Process/StreamInput", std::move(*body));
    out.content_type = "application/connect+json";
    out.once = true;
    return out;
  };
  return core_->simple<void>(operation::stream_input, by_policy, plan(),
                             from_body<void>(wire::read_single_message), std::move(then));
}

call_id envd::close_stdin(remote where, process_selector which, done<void> then) {
  return core_->simple<void>(operation::close_stdin, by_policy,
                             about(std::move(where), "CloseStdin", which), empty_answer(),
                             std::move(then));
}

call_id envd::send_signal(remote where, process_selector which, signal what, done<void> then) {
  return core_->simple<void>(
      operation::send_signal, by_policy,
      about(std::move(where), "SendSignal", which, wire::signal_member(what)), empty_answer(),
      std::move(then));
}

call_id envd::resize_pty(remote where, process_selector which, command::terminal size,
                         done<void> then) {
  return core_->simple<void>(operation::resize_pty, by_policy,
                             about(std::move(where), "Update", which, wire::size_member(size)),
                             empty_answer(), std::move(then));
}

call_id envd::watch_dir(remote where, std::string path, watch_options options,
                        watch_handlers handlers) {
  auto shared = std::make_shared<watch_handlers>(std::move(handlers));
  return core_->open(
      operation::watch_dir, {}, [shared](error e) { shared->on_end(std::move(e)); },
      [core = core_.get(), where = std::move(where), body = wire::watch_body(path, options),
       options, shared](call_id id) {
        if (!body) return core->fail(id, body.err());
        std::make_shared<watch_stream>(*core, id, shared)->start(where, *body, options);
      });
}

call_id envd::create_watcher(remote where, std::string path, watch_options options,
                             done<std::string> then) {
  return core_->simple<std::string>(operation::create_watcher, by_policy,
                                    once(with_body(std::move(where), "CreateWatcher",
                                                   wire::watch_body(path, options), options.user)),
                                    file_answer<std::string>(wire::read_watcher), std::move(then));
}

call_id envd::watcher_events(remote where, std::string watcher,
                             done<std::vector<file_change>> then) {
  return core_->simple<std::vector<file_change>>(
      operation::watcher_events, by_policy,
      once(with_body(std::move(where), "GetWatcherEvents",
                     wire::text_body({{"watcherId", watcher}}))),
      from_body<std::vector<file_change>>(wire::read_changes), std::move(then));
}

call_id envd::remove_watcher(remote where, std::string watcher, done<void> then) {
  return core_->simple<void>(
      operation::remove_watcher, by_policy,
      with_body(std::move(where), "RemoveWatcher", wire::text_body({{"watcherId", watcher}})),
      empty_answer(), std::move(then));
}

call_id envd::write_file(remote where, file_content file, write_options options,
                         done<std::vector<written_file>> then) {
  auto plan = [&]() -> result<exchange> {
    if (file.path.empty()) return make_error(errc::bad_argument, "an empty path");
    auto out = files_exchange(std::move(where), "POST", file.path, options.user);
    if (!out) return out;
    if (auto good = add_metadata(*out, options.metadata); !good) return good.err();
    out->content_type = "application/octet-stream";
    out->body = options.gzip ? wire::gzip(file.content) : std::move(file.content);
    if (options.gzip) out->headers.emplace_back("Content-Encoding: gzip");
    return out;
  };
  return core_->simple<std::vector<written_file>>(
      operation::write_file, options.deadline, plan(),
      file_answer<std::vector<written_file>>(wire::read_written), std::move(then));
}

call_id envd::write_files(remote where, std::vector<file_content> files, write_options options,
                          done<std::vector<written_file>> then) {
  auto plan = [&]() -> result<exchange> {
    auto parts = wire::make_multipart(files);
    if (!parts) return parts.err();
    auto out = files_exchange(std::move(where), "POST", {}, options.user);
    if (!out) return out;
    if (auto good = add_metadata(*out, options.metadata); !good) return good.err();
    out->content_type = std::move(parts->content_type);
    out->body = options.gzip ? wire::gzip(parts->body) : std::move(parts->body);
    if (options.gzip) out->headers.emplace_back("Content-Encoding: gzip");
    return out;
  };
  return core_->simple<std::vector<written_file>>(
      operation::write_files, options.deadline, plan(),
      file_answer<std::vector<written_file>>(wire::read_written), std::move(then));
}

call_id envd::compose(remote where, std::vector<std::string> from, std::string to, std::string user,
                      done<entry> then) {
  auto plan = [&]() -> result<exchange> {
    auto body = wire::compose_body(from, to, user);
    if (!body) return body.err();
    exchange out;
    out.method = "POST";
    out.path = "/files/compose";
    out.envd = std::move(where);
    out.body = std::move(*body);
    out.once = true;
    return out;
  };
  return core_->simple<entry>(operation::compose, by_policy, plan(),
                              file_answer<entry>(wire::read_bare_entry), std::move(then));
}

call_id envd::environment(remote where, done<std::map<std::string, std::string>> then) {
  exchange plan;
  plan.path = "/envs";
  plan.envd = std::move(where);
  return core_->simple<std::map<std::string, std::string>>(
      operation::environment, by_policy, std::move(plan),
      from_body<std::map<std::string, std::string>>(wire::read_texts), std::move(then));
}

std::string envd::download_url(const remote& where, const std::string& path,
                               const signed_url_options& options) const {
  return file_url(core_->sandbox_host_url(where), "read", where, path, options);
}

std::string envd::upload_url(const remote& where, const std::string& path,
                             const signed_url_options& options) const {
  return file_url(core_->sandbox_host_url(where), "write", where, path, options);
}

std::string file_signature(std::string_view path, std::string_view operation, std::string_view user,
                           std::string_view token, std::optional<std::int64_t> expires_unix_s) {
  std::string text;
  for (auto part : {path, operation, user, token})
    text.append(part).append(":");
  if (expires_unix_s)
    text += std::to_string(*expires_unix_s);
  else
    text.pop_back();
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  auto out = base64_encode({reinterpret_cast<const char*>(hash.data()), hash.size()});
  while (!out.empty() && out.back() == '=')
    out.pop_back();
  return "v1_" + out;
}

} // namespace skep::sandbox
