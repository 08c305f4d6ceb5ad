# Precompiled headers. Parsing the messages (msgpack, nlohmann-json, our field lists) and CAF is more than half of
# the work in an average file, so it is done once for all rooms: skep_messages carries the one, skep_interfaces
# the one with CAF. Included last, when all targets are known; rooms that this tree does not have are passed over.
# A room with headers of its own (host/) names them in its CMakeLists.txt and is passed over too.
function(skep_precompile carrier)
  foreach(room IN LISTS ARGN)
    if(TARGET ${room})
      get_target_property(own ${room} PRECOMPILE_HEADERS)
      get_target_property(borrowed ${room} PRECOMPILE_HEADERS_REUSE_FROM)
      if(NOT own AND NOT borrowed)
        target_precompile_headers(${room} REUSE_FROM ${carrier})
      endif()
    endif()
  endforeach()
endfunction()

# In angle brackets, so that the generated header holds no path and the compiler cache serves every clone.
set(skep_common_headers <messages/precompiled.hpp>)
target_precompile_headers(skep_messages PRIVATE ${skep_common_headers})
skep_precompile(skep_messages skep_storage skep_sandbox skep_transfer_pack skep_broker_client skep_guest
                skep_isolation skep_limit_rules skep_host skep_gateway skep-host skep-guest
                test_messages test_storage test_transfer test_guest test_sandbox test_host_contract)
if(TARGET skep_interfaces)
  target_precompile_headers(skep_interfaces PRIVATE <caf/all.hpp> ${skep_common_headers})
  skep_precompile(skep_interfaces skep_actors_core skep_actors skep_broker skep_settings skepd skep
                  test_actors test_actors_threads test_agents test_broker test_domain test_ending test_idle_end
                  test_local_host test_model test_tree test_watching test_cli fake_daemon)
endif()
