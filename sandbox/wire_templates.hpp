// The JSON of templates and builds. Same rules as wire.hpp.
#pragma once

#include "sandbox/templates.hpp"
#include "sandbox/wire.hpp"

namespace skep::sandbox::wire {

result<std::string> template_body(const template_params& what);
/// errc::bad_argument without one base, or for a copy without its files' hash.
result<std::string> build_body(const build_spec& spec);
result<std::string> tags_body(const char* subject, const std::string& name,
                              const std::vector<std::string>& tags);

result<template_build> read_template_build(std::string_view body);
result<file_link> read_file_link(std::string_view body);
result<build_progress> read_progress(std::string_view body);
result<alias_owner> read_alias(std::string_view body);
result<std::vector<template_info>> read_templates(std::string_view body);
result<template_detail> read_template(std::string_view body);
result<std::vector<template_tag>> read_tags(std::string_view body);

/// A template's or snapshot's id: what may stand in a path after percent-encoding.
bool valid_template_id(std::string_view id);
bool valid_files_hash(std::string_view hash);

} // namespace skep::sandbox::wire
