// Templates, builds, tags.
#include "sandbox/templates.hpp"
#include "sandbox/client_core.hpp"
#include "sandbox/wire_control.hpp"
#include "sandbox/wire_templates.hpp"

namespace skep::sandbox {
namespace {

exchange to(std::string method, std::string path, std::string body = {}) {
  exchange out;
  out.method = std::move(method);
  out.path = std::move(path);
  out.body = std::move(body);
  return out;
}

/// `before`ID`after` with the id checked and encoded.
result<exchange> about(std::string method, std::string_view before, const std::string& id,
                       std::string_view after = {}, result<std::string> body = std::string{}) {
  if (!wire::valid_template_id(id)) return make_error(errc::bad_argument, "not a template's name");
  if (!body) return body.err();
  return to(std::move(method), std::string{before} + wire::url_encode(id) + std::string{after},
            std::move(*body));
}

result<exchange> about_build(std::string method, std::string_view before,
                             const template_build& which, std::string_view after,
                             result<std::string> body = std::string{}) {
  if (!wire::valid_template_id(which.build_id))
    return make_error(errc::bad_argument, "not a build's id");
  return about(std::move(method), before, which.template_id,
               "/builds/" + wire::url_encode(which.build_id) + std::string{after}, std::move(body));
}

result<exchange> sending(const char* method, const char* path, result<std::string> body) {
  if (!body) return body.err();
  return to(method, path, std::move(*body));
}

} // namespace

call_id templates::create_template(template_params what, done<template_build> then) {
  return core_->simple<template_build>(
      operation::create_template, by_policy,
      once(sending("POST", "/v3/templates", wire::template_body(what))),
      from_body<template_build>(wire::read_template_build), std::move(then));
}

call_id templates::file_link(std::string template_id, std::string files_hash,
                             done<sandbox::file_link> then) {
  auto plan = about("GET", "/templates/", template_id, "/files/" + files_hash);
  if (!wire::valid_files_hash(files_hash))
    plan = make_error(errc::bad_argument, "not the hash of files");
  return core_->simple<sandbox::file_link>(operation::file_link, by_policy, std::move(plan),
                                           from_body<sandbox::file_link>(wire::read_file_link),
                                           std::move(then));
}

call_id templates::upload_layer(std::string url, std::filesystem::path archive, done<void> then) {
  auto plan = to("PUT", {});
  plan.url = std::move(url);
  plan.body_file = std::move(archive);
  plan.content_type = "application/octet-stream";
  return core_->simple<void>(operation::upload_layer, by_policy, std::move(plan), status_only(),
                             std::move(then));
}

call_id templates::start_build(template_build which, build_spec spec, done<void> then) {
  return core_->simple<void>(
      operation::start_build, by_policy,
      once(about_build("POST", "/v2/templates/", which, {}, wire::build_body(spec))), status_only(),
      std::move(then));
}

call_id templates::build_status(template_build which, std::uint64_t offset,
                                done<build_progress> then) {
  return core_->simple<build_progress>(
      operation::build_status, by_policy,
      about_build("GET", "/templates/", which,
                  "/status?limit=100&logsOffset=" + std::to_string(offset)),
      from_body<build_progress>(wire::read_progress), std::move(then));
}

call_id templates::build_logs(template_build which, build_log_query what,
                              done<std::vector<log_entry>> then) {
  log_query query{what.cursor, what.limit, what.backward, what.at_least, {}};
  return core_->simple<std::vector<log_entry>>(
      operation::build_logs, by_policy,
      about_build("GET", "/templates/", which, "/logs" + wire::log_query_text(query)),
      from_body<std::vector<log_entry>>(wire::read_logs), std::move(then));
}

call_id templates::find_alias(std::string alias, done<alias_owner> then) {
  return core_->simple<alias_owner>(operation::find_alias, by_policy,
                                    about("GET", "/templates/aliases/", alias),
                                    from_body<alias_owner>(wire::read_alias), std::move(then));
}

call_id templates::list_templates(std::string token, done<template_page> then) {
  std::string path = "/v2/templates?limit=100";
  if (!token.empty()) path += "&nextToken=" + wire::url_encode(token);
  return core_->simple<template_page>(
      operation::list_templates, by_policy, to("GET", std::move(path)),
      [](http_answer& answer, const error& failure) -> result<template_page> {
        if (failure) return failure;
        auto items = wire::read_templates(answer.body);
        if (!items) return items.err();
        return template_page{std::move(*items), answer.headers["x-next-token"]};
      },
      std::move(then));
}

call_id templates::get_template(std::string template_id, done<template_detail> then) {
  return core_->simple<template_detail>(
      operation::get_template, by_policy, about("GET", "/templates/", template_id),
      [](http_answer& answer, const error& failure) -> result<template_detail> {
        if (failure) return failure;
        auto out = wire::read_template(answer.body);
        if (out) out->next_token = answer.headers["x-next-token"];
        return out;
      },
      std::move(then));
}

call_id templates::delete_template(std::string template_id, done<bool> then) {
  return core_->simple<bool>(operation::delete_template, by_policy,
                             about("DELETE", "/templates/", template_id), was_there(),
                             std::move(then));
}

call_id templates::set_public(std::string template_id, bool is_public, done<void> then) {
  return core_->simple<void>(
      operation::set_public, by_policy,
      about("PATCH", "/v2/templates/", template_id, {},
            std::string{is_public ? R"({"public":true})" : R"({"public":false})"}),
      status_only(), std::move(then));
}

call_id templates::assign_tags(std::string target, std::vector<std::string> tags, done<void> then) {
  return core_->simple<void>(
      operation::assign_tags, by_policy,
      sending("POST", "/templates/tags", wire::tags_body("target", target, tags)), status_only(),
      std::move(then));
}

call_id templates::remove_tags(std::string name, std::vector<std::string> tags, done<void> then) {
  return core_->simple<void>(
      operation::remove_tags, by_policy,
      once(sending("DELETE", "/templates/tags", wire::tags_body("name", name, tags))),
      status_only(), std::move(then));
}

call_id templates::list_tags(std::string template_id, done<std::vector<template_tag>> then) {
  return core_->simple<std::vector<template_tag>>(
      operation::list_tags, by_policy, about("GET", "/templates/", template_id, "/tags"),
      from_body<std::vector<template_tag>>(wire::read_tags), std::move(then));
}

} // namespace skep::sandbox
