// Templates and their builds, over a client's engine, key and deadlines. The contract of each call
// is that of api.hpp. A templates object must not outlive its client.
//
// A build: create_template, then for each step with files file_link and, unless they are present,
// upload_layer; start_build; build_status with the growing offset until the build is over and the
// answer holds no entry.
#pragma once

#include "sandbox/control.hpp"

namespace skep::sandbox {

struct template_params {
  std::string name; ///< "my-tpl" or "my-tpl:tag".
  std::vector<std::string> tags = {};
  std::uint32_t cpu_count = 0; ///< 0: the provider's.
  std::uint32_t memory_mb = 0; ///< 0: the provider's.
};

/// Names a build of a template.
struct template_build {
  std::string template_id;
  std::string build_id;
  bool is_public = false;
  std::vector<std::string> names = {};
  std::vector<std::string> tags = {};
};

struct file_link {
  bool present = false; ///< The provider has it: nothing to upload.
  std::string url = {}; ///< Where upload_layer() puts it. A secret: whoever has it may write.
};

enum class step_type : std::uint8_t { run, copy, env, workdir, user };

/// One step of a build (reference: docs/protocol-e2b.md).
struct build_step {
  step_type type = step_type::run;
  std::vector<std::string> args = {};
  std::string files_hash = {}; ///< Of copy: 64 hexadecimal digits.
  bool force = false;          ///< This step and all later ones run without cache.
};

/// Where a private image comes from. The field names are those of the registry's type.
struct image_registry {
  std::string type;                          ///< "registry", "aws" or "gcp".
  std::map<std::string, std::string> fields; ///< Secrets.
};

struct build_spec {
  std::string from_image = {};    ///< Or from_template.
  std::string from_template = {}; ///< Or from_image.
  std::optional<image_registry> registry = {};
  std::vector<build_step> steps = {};
  std::string start_command = {};
  std::string ready_command = {};
  bool force = false;
};

enum class build_state : std::uint8_t { waiting, building, ready, error };

struct build_progress {
  build_state state = build_state::waiting;
  std::vector<log_entry> entries; ///< From the offset asked for.
  std::string reason = {};        ///< Of state error; foreign text.
  std::string reason_step = {};   ///< "base", "finalize" or a number from 1.
};

struct alias_owner {
  std::string template_id;
  bool is_public = false;
};

struct template_info {
  std::string template_id;
  std::string build_id;
  std::uint32_t cpu_count = 0;
  std::uint64_t memory_mb = 0;
  std::uint64_t disk_mb = 0;
  bool is_public = false;
  std::vector<std::string> names;
  std::string build_status;
  std::string envd_version;
  std::uint64_t spawn_count = 0;
  std::optional<std::chrono::system_clock::time_point> created_at;
  std::optional<std::chrono::system_clock::time_point> updated_at;
};

struct template_page {
  std::vector<template_info> items;
  std::string next_token; ///< Empty: the last page.
};

struct build_info {
  std::string build_id;
  std::string status;
  std::uint32_t cpu_count = 0;
  std::uint64_t memory_mb = 0;
};

struct template_detail {
  std::string template_id;
  bool is_public = false;
  std::vector<std::string> names;
  std::vector<build_info> builds;
  std::string next_token; ///< Of the builds.
};

struct template_tag {
  std::string tag;
  std::string build_id;
  std::optional<std::chrono::system_clock::time_point> created_at;
};

struct build_log_query {
  std::optional<std::chrono::system_clock::time_point> cursor = {};
  std::uint32_t limit = 100; ///< 1 to 100.
  bool backward = false;
  std::optional<log_level> at_least = {};
};

class templates {
public:
  explicit templates(const client& of) : core_(of.core()) {}

  call_id create_template(template_params what, done<template_build> then);
  /// `files_hash`: 64 lower-case hexadecimal digits.
  call_id file_link(std::string template_id, std::string files_hash, done<sandbox::file_link> then);
  /// Puts a gzip'd tar to the address of file_link(); no key goes with it.
  call_id upload_layer(std::string url, std::filesystem::path archive, done<void> then);
  call_id start_build(template_build which, build_spec spec, done<void> then);
  /// Entries from number `offset` on, at most 100.
  call_id build_status(template_build which, std::uint64_t offset, done<build_progress> then);
  call_id build_logs(template_build which, build_log_query what, done<std::vector<log_entry>> then);
  /// errc::not_found: the name is free; errc::auth: it belongs to somebody else.
  call_id find_alias(std::string alias, done<alias_owner> then);
  /// `token` empty: the first page.
  call_id list_templates(std::string token, done<template_page> then);
  call_id get_template(std::string template_id, done<template_detail> then);
  /// false: there was none; errc::refused while sandboxes use it.
  call_id delete_template(std::string template_id, done<bool> then);
  call_id set_public(std::string template_id, bool is_public, done<void> then);
  /// `target`: "my-tpl:v1".
  call_id assign_tags(std::string target, std::vector<std::string> tags, done<void> then);
  call_id remove_tags(std::string name, std::vector<std::string> tags, done<void> then);
  call_id list_tags(std::string template_id, done<std::vector<template_tag>> then);

private:
  std::shared_ptr<client_core> core_;
};

} // namespace skep::sandbox
