// The fuzz targets, each a file with its function; main.cpp makes one program of them. The corpora
// are in corpus/NAME.
#pragma once

#include "tests/fuzz/input.hpp"

namespace skep::fuzz {

void run_broker(input in);
void run_claude(input in);
void run_envelopes(input in);
void run_follow(input in);
void run_git_output(input in);
void run_guest_answers(input in);
void run_http_edges(input in);
void run_json_bodies(input in);
void run_manifest(input in);
void run_messages(input in);
void run_multipart(input in);
void run_results(input in);
void run_unpack(input in);

} // namespace skep::fuzz
