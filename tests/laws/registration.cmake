# SPDX-License-Identifier: Apache-2.0
# mneme_law_registrations(<sources> <laws>): writes one registration file per memory into the build tree.
#   <sources>  variable that receives the registration files: every header of memory/ and layer/, and of
#              kv_attention one file per eviction policy with the stores that the laws see under it
#   <laws>     variable that receives the sources of the laws (test cases and allocation counter included)
# A new header is found by the next build (CONFIGURE_DEPENDS). By convention memory/foo.hpp declares the
# template mneme::foo<T, Backend>; whatever else a memory needs lives in a subfolder.

include_guard(GLOBAL)

set(_mneme_laws_dir "${CMAKE_CURRENT_LIST_DIR}")
get_filename_component(_mneme_include_dir "${CMAKE_CURRENT_LIST_DIR}/../../include" ABSOLUTE)

function(_mneme_write_if_changed path content)
  if(EXISTS "${path}")
    file(READ "${path}" old)
  endif()
  if(NOT "${old}" STREQUAL "${content}")
    file(WRITE "${path}" "${content}")
  endif()
endfunction()

function(mneme_law_registrations out_sources out_laws)
  set(include "${_mneme_include_dir}/mneme")
  set(out "${CMAKE_CURRENT_BINARY_DIR}/law_registrations")
  set(sources "")
  # States of bfloat16: of each kind of update one member of the family, in one file. The others share with them every
  # line that knows of it.
  set(bf16_content "")

  file(GLOB headers CONFIGURE_DEPENDS "${include}/layer/*.hpp" "${include}/memory/*.hpp")
  foreach(header IN LISTS headers)
    get_filename_component(stem "${header}" NAME_WE)
    if(stem STREQUAL "kv_attention")
      continue()
    endif()
    file(RELATIVE_PATH path "${_mneme_include_dir}" "${header}")
    file(READ "${header}" text)
    if(NOT text MATCHES "(class|struct)[ \n]+${stem}[ \n:{]")
      message(
        FATAL_ERROR
          "include/${path}: declares no class ${stem}. A header of memory/ or layer/ holds one memory, "
          "named like the file: the laws find it by that name. Helpers belong in a subfolder."
      )
    endif()
    set(content "#include <${path}>

#include \"laws/register.hpp\"

static_assert(mneme::Sampled<mneme::${stem}<float>>,
              \"include/${path}: ${stem}<float> is no Sampled Memory: it lacks a part of Memory, config, \"
              \"samples() or a constructor from a config and a seed\");

namespace {
struct ${stem}_family {
  template <class T>
  using native = mneme::${stem}<T>;
  template <class T>
  using oracle = mneme::${stem}<T, mneme::reference>;
  static std::string name() { return \"${stem}\"; }
};
const bool ${stem}_registered = mneme_test::register_family<${stem}_family>();
}  // namespace
")
    _mneme_write_if_changed("${out}/${stem}.cpp" "${content}")
    list(APPEND sources "${out}/${stem}.cpp")
    if(stem MATCHES "^(gla|gated_delta_net|rwkv7)$")
      string(APPEND bf16_content "#include <${path}>

#include \"laws/register.hpp\"

namespace {
struct ${stem}_bf16_family {
  template <std::same_as<float> T>
  using native = mneme::${stem}<T, mneme::native, mneme::bfloat16>;
  template <class T>
  using oracle = mneme::${stem}<T, mneme::reference, mneme::bfloat16>;
  static std::string name() { return \"${stem}_bf16\"; }
};
const bool ${stem}_bf16_registered = mneme_test::register_family<${stem}_bf16_family>();
}  // namespace
")
    endif()
  endforeach()
  if(bf16_content)
    _mneme_write_if_changed("${out}/bf16_states.cpp" "${bf16_content}")
    list(APPEND sources "${out}/bf16_states.cpp")
  endif()

  if(EXISTS "${include}/memory/kv_attention.hpp")
    file(GLOB policies CONFIGURE_DEPENDS "${include}/evict/*.hpp")
    file(GLOB layouts CONFIGURE_DEPENDS "${include}/store/*.hpp")
    file(GLOB codecs CONFIGURE_DEPENDS "${include}/store/codec/*.hpp")
    set(store_includes "")
    foreach(header IN LISTS layouts codecs)
      file(RELATIVE_PATH path "${_mneme_include_dir}" "${header}")
      string(APPEND store_includes "#include <${path}>\n")
    endforeach()
    # The laws: the plain store under every policy; every layout and every codec, each with a plain partner, under
    # three policies that differ in how entries leave. The pairs that this leaves out are compared with contiguous
    # slots on the cache alone: one of every layout under every policy, all under `window`.
    set(plain "mneme::store::contiguous<mneme::store::f32>")
    set(law_stores "${plain}")
    set(pair_stores "")
    set(all_pairs "")
    foreach(layout_header IN LISTS layouts)
      get_filename_component(layout "${layout_header}" NAME_WE)
      if(layout STREQUAL "kivi")  # its codec is its own
        list(APPEND law_stores "mneme::store::kivi<2>" "mneme::store::kivi<4>")
        continue()
      endif()
      foreach(codec_header IN LISTS codecs)
        get_filename_component(codec "${codec_header}" NAME_WE)
        set(store "mneme::store::${layout}<mneme::store::${codec}>")
        if(store STREQUAL plain)
          continue()
        elseif(layout STREQUAL "contiguous" OR codec STREQUAL "f32")
          list(APPEND law_stores "${store}")
        else()
          list(APPEND all_pairs "${store}")
        endif()
        if(codec STREQUAL "q8_0" AND NOT layout STREQUAL "contiguous")
          list(APPEND pair_stores "${store}")
        endif()
      endforeach()
    endforeach()
    foreach(header IN LISTS policies)
      get_filename_component(policy "${header}" NAME_WE)
      if(policy STREQUAL "policy")  # the concept
        continue()
      endif()
      set(stores "${plain}")
      set(pairs "${pair_stores}")
      if(policy MATCHES "^(full|window|h2o)$")
        set(stores "${law_stores}")
      endif()
      if(policy STREQUAL "window")
        set(pairs "${all_pairs}")
      endif()
      list(JOIN stores ",\n    " stores)
      list(JOIN pairs ",\n    " pairs)
      set(content "#include <mneme/evict/${policy}.hpp>
${store_includes}
#include \"laws/kv_pairs.hpp\"
#include \"laws/register_kv.hpp\"

namespace {
const bool kv_${policy}_registered = mneme_test::register_kv<mneme::evict::${policy},
    ${stores}>();
const bool kv_${policy}_pairs = mneme_test::register_kv_pairs<mneme::evict::${policy},
    ${pairs}>();
}  // namespace
")
      _mneme_write_if_changed("${out}/kv_${policy}.cpp" "${content}")
      list(APPEND sources "${out}/kv_${policy}.cpp")
    endforeach()
  endif()

  file(GLOB laws CONFIGURE_DEPENDS "${_mneme_laws_dir}/*.cpp")
  set(${out_sources} "${sources}" PARENT_SCOPE)
  set(${out_laws} "${laws}" PARENT_SCOPE)
endfunction()
