# What is installed: the program with its pages and completions, and for C programs the rooms that know no experiments
# (autograd, models, meta) as one static library, metalora::metalora or metalora.pc; in float64 metalora::metalora64.
#
#     cmake --preset release && cmake --build --preset release && cmake --install build --prefix ~/.local
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS metalora)

# Headers keep their rooms: a program includes "autograd/autograd.h". Those of the operators' authors and the internal ones
# stay here, for operators and models are compiled in.
set(public_headers
  autograd/autograd.h autograd/ops.h autograd/random.h autograd/real.h autograd/status.h
  models/model.h models/network.h models/text.h models/tokenizer/tokenizer.h models/weights/weights.h
  meta/adapter.h meta/lora_ml.h meta/meta.h meta/optimizer.h meta/pool.h)
foreach(header ${public_headers})
  get_filename_component(room ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/metalora/${room})
endforeach()

# BLIS and the libraries of file formats are found again where the package is used (metaloraConfig.cmake.in), for they may
# be elsewhere there.
foreach(bits "" 64)
  add_library(metalora_library${bits} STATIC $<TARGET_OBJECTS:metalora_autograd${bits}> $<TARGET_OBJECTS:metalora_models${bits}>
    $<TARGET_OBJECTS:metalora_meta${bits}>)
  set_target_properties(metalora_library${bits} PROPERTIES OUTPUT_NAME metalora${bits} EXPORT_NAME metalora${bits} LINKER_LANGUAGE C)
  target_include_directories(metalora_library${bits} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/metalora>)
  target_compile_features(metalora_library${bits} INTERFACE c_std_11)
  target_link_libraries(metalora_library${bits} INTERFACE $<INSTALL_INTERFACE:metalora::blis>
    $<INSTALL_INTERFACE:PkgConfig::METALORA_FORMATS> Threads::Threads m)
endforeach()
target_compile_definitions(metalora_library64 INTERFACE AG_DOUBLE)
install(TARGETS metalora_library metalora_library64 EXPORT metaloraTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/metalora)
install(EXPORT metaloraTargets NAMESPACE metalora:: DESTINATION ${package_dir})
configure_package_config_file(cmake/metaloraConfig.cmake.in metaloraConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(metaloraConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/metaloraConfig.cmake ${PROJECT_BINARY_DIR}/metaloraConfigVersion.cmake DESTINATION ${package_dir})

# The versions are those with json_error_code and a stable XXH3.
set(pc_requires "jansson >= 2.11 libutf8proc libxxhash >= 0.8 libpcre2-8")
# In metalora.pc folders are seen from the file itself, so an installed tree can be moved.
file(RELATIVE_PATH pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH pc_libdir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH pc_includedir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(cmake/metalora.pc.in metalora.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/metalora.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY share/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY share/bash-completion share/zsh share/fish DESTINATION ${CMAKE_INSTALL_DATADIR})
install(FILES docs/experiment.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/metalora)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/metalora FILES_MATCHING PATTERN "*.yaml")
install(FILES README.md CHANGELOG.md CITATION.cff LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.json")
