// Which directives a translation may leave out. All others could refuse or change requests, and close their location.

/** Read where they matter. */
const READ =
  'proxy_pass proxy_set_header add_header proxy_hide_header expires allow deny satisfy auth_basic auth_basic_user_file auth_request auth_request_set limit_req limit_conn limit_req_zone limit_conn_zone return rewrite root alias try_files index client_max_body_size proxy_connect_timeout proxy_read_timeout proxy_send_timeout proxy_next_upstream proxy_next_upstream_tries proxy_next_upstream_timeout proxy_cache proxy_cache_path proxy_cache_valid gzip brotli ssl_certificate ssl_certificate_key set listen server_name location server upstream if include internal limit_except error_page set_real_ip_from real_ip_header real_ip_recursive underscores_in_headers grpc_pass http events proxy_ssl_verify ssl_client_certificate ssl_verify_client'

/** About nginx itself, or what Sallyport does by default. */
const WITHOUT_MEANING =
  'user pid daemon worker_processes worker_connections worker_rlimit_nofile worker_cpu_affinity worker_shutdown_timeout multi_accept use load_module pcre_jit thread_pool master_process env error_log access_log log_format log_not_found log_subrequest rewrite_log open_log_file_cache sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio directio output_buffers open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors types types_hash_max_size types_hash_bucket_size default_type charset charset_types override_charset server_tokens server_name_in_redirect absolute_redirect port_in_redirect server_names_hash_bucket_size server_names_hash_max_size variables_hash_max_size variables_hash_bucket_size map_hash_max_size map_hash_bucket_size keepalive_timeout keepalive_requests keepalive_disable send_timeout lingering_close lingering_timeout lingering_time reset_timedout_connection client_body_buffer_size client_body_temp_path client_body_in_file_only client_header_buffer_size large_client_header_buffers client_body_timeout client_header_timeout resolver resolver_timeout http2 http2_max_concurrent_streams http2_push_preload http3 ssl_protocols ssl_ciphers ssl_prefer_server_ciphers ssl_session_cache ssl_session_timeout ssl_session_tickets ssl_session_ticket_key ssl_dhparam ssl_ecdh_curve ssl_buffer_size ssl_early_data ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_conf_command ssl gzip_types gzip_vary gzip_proxied gzip_comp_level gzip_min_length gzip_buffers gzip_http_version gzip_disable gzip_static brotli_types brotli_comp_level brotli_static brotli_min_length proxy_http_version proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size proxy_temp_file_write_size proxy_temp_path proxy_request_buffering proxy_redirect proxy_cookie_path proxy_headers_hash_max_size proxy_headers_hash_bucket_size proxy_socket_keepalive proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_protocols proxy_ssl_ciphers proxy_set_body proxy_pass_request_headers proxy_pass_request_body proxy_pass_header proxy_ignore_client_abort chunked_transfer_encoding etag limit_req_status limit_conn_status limit_req_log_level limit_conn_log_level real_ip_recursive proxy_cache_lock proxy_cache_key proxy_cache_use_stale proxy_cache_revalidate proxy_cache_methods proxy_cache_min_uses proxy_cache_background_update auth_delay merge_slashes ssi_silent_errors ignore_invalid_headers client_body_in_single_buffer connection_pool_size request_pool_size postpone_output gunzip gunzip_buffers charset_map source_charset keepalive_time ssl_verify_depth uninitialized_variable_warn http2_chunk_size http2_body_preread_size http2_recv_buffer_size proxy_ssl_verify_depth'

/** Directives without a translation that refuse no requests; each is noted. */
const NOTED =
  'sub_filter sub_filter_once sub_filter_types autoindex autoindex_exact_size autoindex_localtime autoindex_format mirror mirror_request_body proxy_cache_bypass proxy_no_cache proxy_ignore_headers proxy_intercept_errors proxy_cookie_domain proxy_cookie_flags limit_rate limit_rate_after slice add_trailer image_filter map geo split_clients stream mail proxy_bind proxy_method proxy_ssl_name proxy_ssl_certificate proxy_ssl_certificate_key proxy_ssl_trusted_certificate more_set_headers more_clear_headers more_set_input_headers stub_status recursive_error_pages if_modified_since ssi addition_types add_before_body add_after_body userid opentelemetry otel_trace otel_trace_context otel_exporter proxy_force_ranges max_ranges upgrade'

// Without `fastcgi_pass` and the like, which close a location, these do nothing.
const BESIDE_A_GUARD = /^(?:fastcgi|uwsgi|scgi)_(?!pass$)|^lua_(?:package|shared|socket|ssl|code)/

const wordsOf = (text: string): ReadonlySet<string> => new Set(text.split(' '))
const READ_WORDS = wordsOf(READ)
const MEANINGLESS = wordsOf(WITHOUT_MEANING)
const NOTED_WORDS = wordsOf(NOTED)

/** Returns what a directive is to a translation: `guard` for one that has to close its location. */
export function kindOf(name: string): 'read' | 'meaningless' | 'noted' | 'guard' {
  if (READ_WORDS.has(name)) return 'read'
  if (MEANINGLESS.has(name) || BESIDE_A_GUARD.test(name)) return 'meaningless'
  return NOTED_WORDS.has(name) ? 'noted' : 'guard'
}
