//! The conformance suite: one file per topic, one function per row, run in every world.

pub mod acl;
pub mod admin;
pub mod basic;
pub mod bearer;
pub mod broadcast;
pub mod bus;
pub mod bus_broadcast;
pub mod bus_points;
pub mod carriers;
pub mod chain;
pub mod demo;
pub mod digest;
pub mod directory;
pub mod drain;
pub mod echo;
pub mod ephemeral;
pub mod explain;
pub mod factors;
pub mod form;
pub mod head;
pub mod introspection;
pub mod issued_factors;
pub mod jws;
pub mod keyset;
pub mod ldap;
pub mod legs;
pub mod lifetime;
pub mod limits;
pub mod load;
pub mod log;
pub mod matrix;
pub mod origin;
pub mod points;
pub mod policy;
pub mod proxied;
pub mod proxy;
pub mod relay;
pub mod reload;
pub mod renewal;
pub mod route;
pub mod same;
pub mod schemes;
pub mod session;
pub mod short;
pub mod throttle;
pub mod ticket;
pub mod tls;
pub mod upgrade;

use crate::client::{Client, Request, Response};
use crate::world::{Setup, Stage};

/// Passes every row of the suite, by topic, to a macro.
#[macro_export]
macro_rules! rows {
    ($mount:ident) => {
        $mount! {
            acl: [
                m08_a_missing_entitlement_is_403,
                m08_an_added_entitlement_counts_after_a_reload,
                m09_a_denial_is_for_its_role_alone,
                m09_the_files_list_is_inherited,
                m09_unknown_roles_do_not_load,
                e10_an_anonymous_client_without_the_entitlement_is_401,
                a_public_service_has_no_list,
            ],
            admin: [
                e19_health_is_answered_without_a_token,
                r17_the_admin_listener_checks_host,
                e17_figures_are_counted,
                e15_what_is_closed_at_accept_is_counted,
                e20_revoking_needs_the_token,
                e20_a_revoked_subject_loses_its_sockets,
                e20_a_revocation_says_whose,
                e20_a_revocation_ends_or_is_lifted,
                e20_sessions_and_tickets_end_with_their_subject,
                e20_a_factor_that_is_revoked_meanwhile_reads_nothing,
                e20_the_file_is_watched,
                admin_is_for_loopback,
                e20_a_short_token_is_told,
            ],
            basic: [
                m04_right_passwords_are_granted,
                m04_wrong_password_and_unknown_user_look_the_same,
                m23_argon2_with_real_parameters,
                m23_weak_hashes_do_not_load,
                m31_a_right_password_is_hashed_once,
                m05_no_credential_is_401_as_in_reference_a,
                m06_retry_on_the_same_connection,
                r07_the_third_refusal_closes,
                r07_one_attempt_closes_at_once,
                r07_the_last_wrong_password_is_answered,
                r02_a_lost_verdict_is_503,
                r07_bytes_behind_a_refused_upgrade_are_discarded,
                r05_basic_that_cannot_be_read_is_400,
                r05_empty_user_and_password_is_401,
                r04_challenges_keep_the_configured_order,
                m13_the_realm_is_quoted,
                r04_the_browser_prompt_can_be_suppressed,
            ],
            bearer: [
                m03_a_right_token_is_granted,
                m11_wrong_claims_are_invalid_token,
                m11_the_audience_may_be_a_list,
                e04_leeway_is_thirty_seconds,
                e04_leeway_may_be_nothing,
                r05_an_expired_token_is_described,
                r05_a_token_that_is_not_yet_valid_is_described,
                r12_hostile_claims_are_invalid_token,
                m14_alg_none_is_refused,
                r12_base64url_is_strict,
                r05_a_bearer_that_cannot_be_read_is_invalid_request,
                r05_an_opaque_token_is_invalid_token,
                m20_another_scheme_counts_as_none,
                m12_any_claim_is_enough,
                m12_all_claims_may_be_needed,
                e03_the_log_tells_reasons_apart,
                m31_what_was_read_once_is_judged_each_time,
            ],
            broadcast: [
                m18_what_one_says_all_others_hear,
                m18_each_sender_is_heard_in_order,
                m18_a_burst_reaches_everybody_who_reads,
                m18_a_slow_member_is_1013_and_hurts_nobody,
                m18_a_thousand_members_hear_beside_a_slow_one,
                m18_a_message_longer_than_the_mailbox_passes,
                m18_the_last_words_are_heard,
                m18_who_is_leaving_holds_up_nobody,
                m18_topics_do_not_mix,
                m08_a_broadcast_needs_websocket_connect,
                m16_a_broadcast_is_reached_by_sockets_alone,
                r14_a_member_that_hears_is_not_idle,
                e16_a_topic_survives_a_reload,
                e01_an_expired_member_hears_no_more,
            ],
            bus: [
                e20_a_revocation_holds_on_every_node,
                e20_revocations_are_read_before_the_first_upgrade,
                e20_revocations_catch_up_after_redis_was_away,
                b01_a_ticket_is_good_once_on_all_nodes,
                b01_a_ticket_that_is_spent_elsewhere_makes_room,
                r16_a_session_is_one_on_all_nodes,
                r16_a_login_page_is_good_on_all_nodes,
                r16_a_logout_ends_what_a_ticket_opened_elsewhere,
                what_needs_redis_is_503_while_it_is_away,
                a_silent_redis_is_away,
                a_node_starts_without_redis,
                redis_asks_who_it_is,
                a_wrong_bus_does_not_load,
            ],
            bus_broadcast: [
                m18_a_broadcast_is_one_on_all_nodes,
                m18_a_burst_is_heard_on_all_nodes_in_order,
                m18_what_redis_repeats_or_invents_is_not_heard,
                m18_a_message_for_no_broadcast_of_this_node_is_dropped,
                m18_while_redis_is_away_members_hear_their_own_node,
                m18_a_slow_member_on_another_node_is_1013_and_hurts_nobody,
                m18_a_message_of_more_than_4_mib_stays_on_its_node,
                m18_a_slow_redis_holds_senders_up_for_a_short_time,
                m18_a_topic_is_shared_as_soon_as_it_is_configured,
            ],
            bus_points: [
                m16_a_data_point_is_one_on_all_nodes,
                m16_data_points_catch_up_after_redis_was_away,
            ],
            carriers: [
                m21_another_carrier_counts_as_none,
                m21_the_services_carriers_replace_the_realms,
                r03_two_explicit_carriers_are_400,
                r03_the_same_token_twice_may_be_allowed,
                r03_the_same_carrier_twice_however_it_is_written_is_400,
                r03_a_parameter_without_a_value_is_absent,
                m29_names_in_the_query_are_decoded,
                r10_a_query_token_is_answered_without_traces,
                m30_the_pair_form_never_echoes_the_token,
                r09_the_single_form_needs_another_subprotocol,
                r09_a_marker_as_last_item_is_400,
                r09_a_token_with_slashes_needs_leave,
                r04_other_carriers_still_draw_a_challenge,
            ],
            chain: [
                m22_single_modules,
                m22_pairs_of_modules,
                r15_ignored_is_no_success,
                e07_each_issuer_has_its_keys,
            ],
            demo: [
                demo_printed_credentials_work,
                demo_points_are_read_and_set,
                r17_the_page_is_hardened,
                r17_pages_take_get_and_head,
            ],
            digest: [
                m33_the_whole_exchange_on_one_connection,
                m33_digest_nc_reuse_is_refused,
                m33_counts_arrive_in_any_order,
                m33_an_expired_nonce_is_stale,
                m33_uri_mismatch_is_400,
                r13_malformed_digests_are_400,
                r13_a_foreign_realm_or_algorithm_is_401,
                r13_a_foreign_nonce_is_stale,
                r13_a_nonce_belongs_to_its_realm,
                r05_wrong_passwords_and_unknown_users_look_the_same,
                r13_names_may_be_utf_8,
                r04_md5_is_opt_in,
                r03_digest_beside_an_origin_is_ambient,
                r15_two_modules_use_the_nonce_once,
                r13_a_reload_forgets_no_count,
                r13_algorithms_without_users_are_told,
                r15_digests_alone_do_not_judge_basic,
                r13_stale_is_401_under_every_setting,
                r10_digests_are_not_logged,
                m23_wrong_digest_files_do_not_load,
            ],
            directory: [
                m18_files_are_served_with_their_types,
                m18_a_folder_is_its_index,
                m18_what_is_not_to_be_seen_is_404,
                m18_links_do_not_lead_out,
                m18_other_methods_are_405,
                m18_a_large_file_arrives_whole_and_bounded,
                m18_a_file_that_shrinks_ends_the_connection,
                m18_a_file_that_grows_is_sent_as_announced,
                m18_what_is_known_is_304,
                m34_a_file_and_then_an_upgrade_on_one_connection,
                m34_pipelined_requests_are_answered_in_order,
                m17_exact_beats_prefix_and_longer_beats_shorter,
                m17_each_folder_has_its_realm,
                m08_a_file_needs_read,
                r17_files_are_hardened,
                r11_pages_elsewhere_do_not_fetch_files,
                e22_a_browser_without_a_session_is_sent_to_the_login,
                e22_an_anonymous_browser_may_log_in,
                b01_a_ticket_reads_a_file,
                e16_files_change_without_a_reload,
                e18_a_file_during_a_shutdown_is_503,
                m18_folders_that_cannot_be_served_do_not_load,
            ],
            drain: [
                e18_open_sockets_are_told,
                e18_new_upgrades_are_503,
                e18_who_never_hangs_up_does_not_hold_up_the_exit,
                e18_a_close_follows_whole_frames,
            ],
            echo: [
                m18_messages_come_back_unmasked,
                m18_fragments_make_one_message,
                m18_a_ping_is_answered,
                m18_a_close_is_answered,
                m18_nothing_counts_behind_a_close,
                m18_the_end_of_the_stream_ends_the_socket,
                m18_violations_are_1002,
                m18_text_that_is_not_utf8_is_1007,
                m18_too_big_is_1009,
                m18_a_burst_comes_back_in_order,
                m18_a_client_that_never_reads_is_ended,
                e17_the_end_of_a_socket_is_logged,
                m18_a_client_that_answers_no_ping_is_ended,
            ],
            form: [
                m35_a_form_login_begins_a_session,
                m35_a_bad_password_is_the_page_with_401,
                r16_a_login_needs_the_pages_field_and_cookie,
                r16_a_foreign_or_missing_origin_cannot_log_in,
                r16_a_form_from_another_site_is_refused,
                e14_guessing_at_the_form_is_throttled,
                e14_a_dead_session_is_no_guess,
                r11_the_page_is_not_fetched_from_elsewhere,
                r16_other_bodies_are_refused,
                r17_the_login_page_is_hardened,
                r16_next_is_a_local_path,
                r02_realm_paths_know_their_methods,
                r07_bodies_end_where_they_say,
                r02_a_late_body_is_408,
                r02_expect_continue_is_answered,
                r16_forms_that_cannot_work_do_not_load,
            ],
            ephemeral: [
                m36_a_signed_name_is_granted_until_it_expires,
                m36_the_socket_ends_with_the_credential,
                m36_each_secret_of_a_rotation_counts,
                m36_what_is_not_signed_or_expired_is_401,
                m36_a_bad_secret_file_does_not_load,
            ],
            explain: [
                b3_an_explanation_is_what_the_gateway_does,
                b3_each_check_has_its_line,
            ],
            factors: [
                m26_a_second_factor_opens_the_socket,
                m26_an_identity_is_good_once,
                m26_an_identity_ends,
                r06_an_unknown_identity_is_ignored,
                r06_another_subject_begins_anew,
                r06_a_wrong_factor_spends_the_identity,
                r06_a_wrong_first_factor_goes_no_further,
                r06_an_identity_is_for_one_service,
                r06_new_rules_begin_anew,
                r06_roles_are_added_up,
                r06_the_nearest_deadline_counts,
                r06_a_factor_that_ended_meanwhile_begins_anew,
                r06_the_nearest_session_timeout_counts,
                r06_three_factors_are_passed_in_order,
                r06_two_identities_are_400,
                r06_one_factor_is_enough_where_one_is_asked_for,
            ],
            head: [
                r02_malformed_heads_are_refused_and_close,
                r02_malformed_heads_are_refused_after_half_close,
                r02_malformed_heads_draw_no_challenge,
                r02_bare_lf_is_400,
                r02_http2_preface_is_505,
                r02_post_is_405,
                r02_paths_that_are_not_canonical_are_404,
                r02_unreserved_escapes_are_decoded_once,
                r02_no_route_is_404_and_keeps,
                r02_absolute_form_is_the_same_request,
                r02_one_leading_empty_line_is_skipped,
                r02_long_request_line_is_414,
                r02_large_head_is_431,
                r02_too_many_fields_are_431,
                r02_incomplete_head_is_408_and_silence_is_not_answered,
                r02_dribbling_does_not_extend_the_head_timeout,
                r07_kept_connection_ends_silently_when_unused,
            ],
            introspection: [
                e09_active_tokens_are_granted_and_others_are_not,
                e09_the_question_is_a_form_with_the_clients_own_credentials,
                e09_audience_issuer_times_and_claims_are_judged,
                e09_what_is_not_asked_about,
                m31_a_repeated_token_is_asked_about_once,
                m31_nothing_is_remembered_if_the_file_says_so,
                m31_answers_end_and_bad_ones_sooner,
                m31_two_hundred_handshakes_make_one_call,
                m31_the_answer_outlives_who_asked_first,
                e09_a_verifier_that_fails_is_503_and_recovers,
                e09_a_dead_verifier_touches_no_open_socket,
                e09_too_many_questions_are_503,
                e09_over_tls_with_the_authorities_of_the_file,
                e09_mistakes_do_not_load,
                b12_a_new_secret_for_asking_ends_no_socket,
                e15_questions_have_descriptors_of_their_own,
            ],
            issued_factors: [
                r06_a_session_is_a_factor,
                r06_every_session_ends_the_socket,
                r06_a_session_that_ended_meanwhile_begins_anew,
                r06_a_dead_session_or_ticket_begins_anew,
                r06_a_ticket_is_a_factor,
                r06_a_session_does_not_hide_another_realms_timeout,
            ],
            jws: [
                m14_every_algorithm_verifies,
                m14_a_key_verifies_its_algorithm_alone,
                m14_hs256_signed_with_the_pem_is_refused,
                m14_wrong_keys_do_not_load,
                m15_kid_chooses_the_key,
                r12_without_kid_the_only_key_counts,
                r12_keys_in_the_token_are_not_used,
            ],
            keyset: [
                e08_keys_are_fetched_at_the_start,
                e08_an_unknown_kid_fetches_once_in_the_interval,
                e08_two_hundred_unknown_kids_make_one_fetch,
                e08_a_failed_fetch_keeps_the_old_keys,
                e08_without_any_key_503_until_there_is_one,
                e08_a_reload_fetches_nothing_and_withdrawn_keys_end,
                e08_cache_control_is_heard_within_limits,
                e08_a_short_refresh_alone_is_heard,
                e08_mistakes_do_not_load,
                b12_keys_that_are_not_there_yet_end_no_socket,
            ],
            ldap: [
                m24_members_of_a_group_hold_its_role,
                m24_search_bind_and_groups,
                m24_wrong_password_and_unknown_user_look_the_same,
                m24_a_filter_in_the_name_matches_nobody,
                m24_an_empty_password_reaches_nobody,
                m24_two_entries_are_nobody,
                m24_start_tls_goes_first,
                m24_over_tls_with_the_authorities_of_the_file,
                m24_a_directory_that_fails_is_503_and_recovers,
                m24_a_dead_directory_touches_no_open_socket,
                m24_too_many_conversations_are_503,
                m24_in_a_chain,
                m24_mistakes_do_not_load,
            ],
            legs: [
                legs_dial_write_and_end,
                legs_a_refused_dial_is_told,
                legs_tls_from_the_start,
                legs_start_tls,
                legs_files,
                legs_let_go_is_the_end,
                legs_end_with_the_socket,
            ],
            lifetime: [
                e01_an_expired_token_closes_the_socket,
                e01_the_leeway_belongs_to_the_lifetime,
                e01_a_client_that_ignores_the_close_is_let_go,
                r14_expiry_does_not_cut_a_frame,
                m27_the_session_timeout_closes_the_socket,
                r14_the_nearest_deadline_counts,
                r14_an_idle_socket_is_closed,
                r14_clock_jumps_never_extend,
            ],
            limits: [
                e15_half_sent_heads_are_408,
                e15_connections_are_limited,
                e15_sockets_per_subject_are_429,
                e15_announced_messages_share_one_memory,
                r02_a_refusal_survives_a_sending_client,
                r02_discarding_is_bounded,
            ],
            load: [
                e16_reloads_under_load_lose_no_handshake_and_no_socket,
            ],
            log: [
                r10_values_of_parameters_are_not_logged,
                r10_names_of_parameters_are_bounded,
                r10_credentials_are_not_logged,
                r10_only_who_was_let_in_is_named,
                r10_a_long_path_is_cut,
                e17_every_request_is_logged_once,
                e17_unknown_users_are_told_apart_in_the_log,
            ],
            matrix: [
                m21_bearer_alone_is_granted,
                m21_basic_alone_is_granted,
                m21_digest_alone_is_granted,
                m21_custom_alone_is_granted,
                m21_header_alone_is_granted,
                m21_query_alone_is_granted,
                m21_cookie_alone_is_granted,
                m21_session_alone_is_granted,
                m21_pair_alone_is_granted,
                m21_single_alone_is_granted,
                m21_ticket_alone_is_granted,
                r03_bearer_bad_is_401,
                r03_basic_bad_is_401,
                r03_digest_bad_is_401,
                r03_custom_bad_is_401,
                r03_header_bad_is_401,
                r03_query_bad_is_401,
                r03_cookie_bad_is_401,
                r03_session_bad_is_401,
                r03_pair_bad_is_401,
                r03_single_bad_is_401,
                r03_ticket_bad_is_401,
                r03_authorization_empty_is_absent,
                r03_header_empty_is_absent,
                r03_query_empty_is_absent,
                r03_cookie_empty_is_absent,
                r03_session_empty_is_absent,
                r03_ticket_empty_is_absent,
                r03_bearer_duplicated_is_400,
                r03_basic_duplicated_is_400,
                r03_digest_duplicated_is_400,
                r03_custom_duplicated_is_400,
                r03_header_duplicated_is_400,
                r03_query_duplicated_is_400,
                r03_cookie_duplicated_is_400,
                r03_session_duplicated_is_400,
                r03_pair_duplicated_is_400,
                r03_single_duplicated_is_400,
                r03_ticket_duplicated_is_400,
                r03_two_schemes_in_authorization_are_400,
                r03_both_subprotocol_forms_are_400,
                r03_bearer_beside_another_explicit_one_is_400,
                r03_basic_beside_another_explicit_one_is_400,
                r03_digest_beside_another_explicit_one_is_400,
                r03_custom_beside_another_explicit_one_is_400,
                r03_header_beside_another_explicit_one_is_400,
                r03_query_beside_another_explicit_one_is_400,
                r03_pair_beside_another_explicit_one_is_400,
                r03_single_beside_another_explicit_one_is_400,
                r03_ticket_beside_another_explicit_one_is_400,
                r03_bearer_decides_alone_beside_ambient_ones,
                r03_custom_decides_alone_beside_ambient_ones,
                r03_header_decides_alone_beside_ambient_ones,
                r03_query_decides_alone_beside_ambient_ones,
                r03_pair_decides_alone_beside_ambient_ones,
                r03_single_decides_alone_beside_ambient_ones,
                r03_ticket_decides_alone_beside_ambient_ones,
            ],
            origin: [
                m32_a_foreign_origin_is_403,
                r11_the_listed_origin_passes,
                r02_a_bad_origin_field_is_400,
                r11_explicit_credentials_need_no_origin,
                m32_a_cookie_without_origin_is_403,
                r11_same_origin_is_a_configured_host,
                r11_any_host_is_not_any_origin,
                r11_without_a_list_every_origin_passes,
                r11_null_passes_only_where_listed,
                e11_a_star_is_one_label,
                r11_ambient_credentials_need_a_list,
            ],
            points: [
                m16_a_get_reads_the_last_value,
                m16_refusals_of_a_get_are_those_of_an_upgrade,
                m16_other_methods_are_405,
                m16_half_an_upgrade_is_a_get,
                r11_a_get_is_for_pages_that_are_allowed,
                r11_a_cookie_reads_without_origin,
                r17_values_are_hardened,
                points_every_reader_is_told_of_every_write,
                points_the_server_stamps_the_time,
                points_without_the_entitlement_a_write_is_3003,
                points_what_is_no_value_ends_the_socket,
                m08_reading_and_following_are_entitlements,
                points_a_slow_reader_is_told_the_last_value,
                e15_large_values_for_slow_readers_claim_memory,
                e15_large_answers_claim_memory,
                e16_values_survive_a_reload_by_name,
                r14_a_reader_that_is_told_is_not_idle,
                e18_a_get_during_a_shutdown_is_503,
                b03_an_explanation_of_a_reader_ends_with_the_head,
                b01_a_ticket_reads_a_value_once,
                m26_a_get_passes_every_factor,
            ],
            policy: [
                m25_a_missing_role_is_403,
                m25_without_roles_anybody_known_passes,
                m25_all_roles_are_needed,
                m23_a_user_named_like_a_role_gains_nothing,
                m23_groups_nest,
                r05_a_missing_scope_is_insufficient_scope,
                e10_anonymous_clients_may_pass,
                e10_an_anonymous_client_without_the_role_is_401,
                r02_a_disabled_service_is_503,
                a_public_service_asks_for_nothing,
                r01_the_first_failure_wins,
            ],
            proxied: [
                e13_the_peer_is_who_the_header_names,
                e13_the_header_comes_before_tls,
                e13_a_balancer_may_speak_for_itself,
                e13_malformed_headers_close,
                e13_a_header_may_come_in_pieces,
                e13_a_missing_header_is_let_go_at_the_head_timeout,
                e13_from_others_a_header_is_an_error,
                e13_connections_count_for_the_client,
                e13_explain_takes_the_peer_as_named,
                e14_behind_a_balancer_each_client_is_throttled_alone,
            ],
            proxy: [
                m18_messages_go_through_and_come_back,
                e05_the_upstream_sees_no_credential,
                e05_what_the_gateway_issued_is_not_handed_on,
                e05_claimed_identities_are_dropped,
                e06_an_identity_that_does_not_fit_is_403,
                e23_the_upstreams_choice_is_handed_on,
                e23_another_answer_than_a_right_101_is_502,
                m18_a_silent_upstream_is_504_and_a_missing_one_502,
                e05_nobody_is_dialed_before_the_grant,
                r08_bytes_behind_the_head_reach_the_upstream_once,
                m18_paths_below_a_prefix_are_handed_on,
                m18_an_upstream_with_tls_is_verified,
                e15_relayed_sockets_count_for_their_subject,
                m18_a_client_that_leaves_frees_the_upstream,
                e15_new_rules_during_the_dial_count_a_socket_once,
                e23_an_upstream_sets_no_cookie_of_the_gateways,
            ],
            relay: [
                r14_expiry_in_a_fragmented_message_closes_between_frames,
                r14_expiry_between_frames_closes_at_once,
                r14_a_frame_that_does_not_end_ends_without_a_close,
                r14_there_is_one_close,
                e18_shutdown_and_new_rules_close_between_frames,
                e20_a_revoked_subject_loses_its_relayed_socket,
                m28_a_relayed_socket_is_renewed,
                m18_the_upstreams_end_is_the_clients,
                m18_the_clients_end_is_the_upstreams,
                m18_pings_stand_between_frames,
                m18_a_ping_that_waited_wants_an_answer,
                m18_a_relayed_socket_is_idle_without_bytes,
                e15_a_client_that_takes_nothing_is_let_go,
                m18_binary_messages_are_a_stream_of_bytes,
                m18_ends_of_a_stream_of_bytes,
            ],
            reload: [
                r14_a_removed_user_loses_the_socket,
                r14_a_lost_role_loses_the_socket,
                b12_what_new_rules_deny_is_closed,
                b12_what_new_rules_allow_stays_open,
                b12_a_further_factor_is_judged_again,
                b12_tickets_and_sessions_are_judged_again,
                m15_a_replaced_key_set_is_found,
                e16_a_bad_file_changes_nothing,
            ],
            renewal: [
                m28_the_authorization_timeout_closes_the_socket,
                m28_the_same_subject_stays,
                m28_a_shorter_token_ends_the_socket_earlier,
                m28_another_subject_ends_the_socket,
                m28_a_socket_that_ends_is_not_renewed,
                m28_a_bad_renewal_touches_nothing,
                r14_a_renewal_replaces_the_credential,
                r14_each_factor_is_renewed_alone,
                m28_a_page_may_renew,
                m28_a_session_that_renews_its_socket_still_ends_it,
                r06_the_renewal_of_one_factor_keeps_the_session_of_another,
            ],
            route: [
                m17_each_service_has_its_realm,
                m17_a_host_chooses_the_service,
                m32_hosts_are_compared_exactly,
                r02_the_unknown_host_status_is_configured,
                m32_loopback_hosts_are_the_default,
                m07_plain_text_is_for_loopback,
                m10_unknown_members_are_errors_with_a_place,
            ],
            schemes: [
                m19_a_custom_scheme_is_judged_like_a_bearer_token,
                m19_a_custom_scheme_has_no_error_parameters,
                m19_the_application_prefix_is_off_the_wire,
            ],
            session: [
                r16_a_login_rotates_the_session,
                r16_logout_closes_the_sockets,
                r11_a_session_needs_an_origin,
                r03_no_fallback_to_the_session,
                r16_another_realms_session_is_absent,
                r16_the_session_timeout_counts_from_the_login,
                r16_an_unused_session_ends,
                r16_sessions_are_limited,
                r14_a_session_ends_with_its_user,
            ],
            short: [
                m10_two_servers_in_short_form_work,
                m16_a_short_form_refuses_what_it_should,
                m14_hs256_with_a_pem_file_does_not_load,
                m10_faults_of_the_short_form_have_a_place,
            ],
            throttle: [
                e14_the_eleventh_failure_is_429,
                e14_tickets_and_renewals_are_no_way_around_it,
                e14_a_throttled_client_is_let_in_when_the_window_is_over,
                e14_another_address_is_not_affected,
                e14_behind_a_shared_address_users_are_told_apart,
                e14_what_is_no_guess_is_not_counted,
                e14_networks_are_checked_at_load,
            ],
            ticket: [
                b01_a_ticket_opens_one_socket,
                b01_any_credential_makes_a_ticket,
                r03_a_ticket_beside_a_token_is_400,
                b01_a_ticket_is_bound_to_its_endpoint,
                b01_a_ticket_is_bound_to_its_origin,
                b01_a_ticket_ends_with_its_token,
                b01_a_ticket_has_the_rights_of_its_token,
                b01_a_ticket_expires,
                b01_unspent_tickets_are_limited,
                b01_nobody_in_particular_gets_no_ticket,
                b01_a_ticket_belongs_to_its_realm,
                b01_a_ticket_ends_with_its_session,
                r14_a_ticket_does_not_outlive_its_rules,
                b01_a_preflight_is_answered,
                b01_answers_to_posts_may_be_read,
                r02_the_ticket_path_knows_its_methods,
                b01_tickets_that_cannot_work_do_not_load,
            ],
            tls: [
                m01_upgrade_under_tls,
                r02_refusals_under_tls_arrive_whole,
                m07_plain_text_on_a_tls_listener_is_not_answered,
                m07_a_silent_handshake_is_let_go,
                r11_same_origin_under_tls,
            ],
            upgrade: [
                m01_upgrade_is_answered_with_101,
                m02_split_bytes_are_answered_the_same,
                r08_pipelined_bytes_are_the_first_frames,
                r08_a_pipelined_frame_may_be_cut,
                m37_another_version_is_426,
                m37_no_single_version_is_400,
                m37_bad_keys_are_400,
                r02_upgrade_tokens_are_found_in_lists,
                r02_no_upgrade_is_426,
                r02_http10_cannot_upgrade,
                r02_a_body_on_an_upgrade_is_400,
                r01_syntax_is_judged_before_credentials,
                r09_the_servers_preference_decides,
                r09_items_are_tokens,
                r09_a_required_subprotocol_is_named,
            ],
        }
    };
}

/// Passes the rows that are ahead of what is built, by topic, to a macro: written, but not kept yet.
#[macro_export]
macro_rules! rows_ahead {
    ($mount:ident) => {
        $mount! {}
    };
}

/// Asks on a new connection and expects to be refused with `status` and a close.
///
/// # Panics
/// If the answer is another one or the connection stays open.
pub fn refused(stage: &Stage, request: &Request, status: u16) -> Response {
    let mut client = stage.connect();
    client.send(&request.bytes());
    let answer = closed_after(&mut client);
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

/// Reads an answer that announces the end of the connection, and that end.
///
/// # Panics
/// If the answer does not announce it or the connection stays open.
pub fn closed_after(client: &mut Client) -> Response {
    let answer = client.expect_response();
    assert!(answer.closes(), "not announced to close: {answer:?}");
    client.expect_eof();
    answer
}

/// Asks on a new connection and expects to be refused with `status`, the connection being kept.
///
/// # Panics
/// If the answer is another one or announces a close.
pub fn refused_but_kept(stage: &Stage, request: &Request, status: u16) -> Response {
    let answer = stage.connect().ask(request);
    assert_eq!((answer.status, answer.closes()), (status, false), "{answer:?}");
    answer
}

/// Loads a configuration that is wrong and returns what is said about it.
///
/// # Panics
/// If it is not wrong.
pub fn load_error(setup: &Setup) -> String {
    let built = setup
        .load()
        .and_then(|config| crate::world::try_gateway(config).map(|_| ()));
    built.expect_err("a wrong configuration loads").to_string()
}
