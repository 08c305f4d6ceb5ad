// From a work tree to the documents of files_doc.hpp, and these as text for people.
#pragma once

#include "messages/json.hpp"
#include "tools/skep/files_doc.hpp"
#include "transfer/inventory.hpp"

namespace skep::cli {

/// `largest` > 0: only so many files, the largest first; else all, by name.
result<files_doc> files_doc_of(const std::string& root, const transfer::inventory& files,
                               std::uint32_t largest = 0);
rules_doc rules_doc_now();

std::string files_text(const files_doc& d);
std::string left_out_text(const files_doc& d);
std::string why_text(const why_doc& d);
std::string rules_text(const rules_doc& d);
std::string dry_run_text(const dry_run_doc& d);

/// As --json prints it: null for what is not known.
json dry_run_json(const dry_run_doc& d);

} // namespace skep::cli
