import { listAt } from '../json.ts'
import type { Translation } from '../translation.ts'
import type { Line } from './parse.ts'

/** What the global options say of certificates. */
export interface GlobalOptions {
  readonly email: string | undefined
  /** Whether Caddy orders no certificates. */
  readonly isOff: boolean
}

const WITHOUT_MEANING =
  /^(?:debug|admin|email|auto_https|http_port|https_port|grace_period|shutdown_delay|log|metrics|persist_config|storage_clean_interval|skip_install_trust|local_certs)$/

/** Translates the global options. */
export function addGlobalOptions(lines: readonly Line[], translation: Translation): GlobalOptions {
  let email: string | undefined
  let isOff = false
  for (const line of lines) {
    const [name = '', value = ''] = line.words
    if (name === 'email' && !/[{}]/.test(value)) email = value
    if (name === 'auto_https' && value === 'off') isOff = true
    if (name === 'servers') addServers(line, translation)
    else if (!WITHOUT_MEANING.test(name)) translation.missing(line, line.words.join(' '))
  }
  return { email, isOff }
}

function addServers({ block = [] }: Line, translation: Translation): void {
  for (const line of block) {
    const [name = '', first = '', ...rest] = line.words
    if (name === 'trusted_proxies' && first === 'static')
      listAt(translation.config, 'trustedProxies').push(
        ...rest.flatMap((each) => (each === 'private_ranges' ? ['private', 'loopback'] : [each]))
      )
    else if (name === 'client_ip_headers') {
      if (first.toLowerCase() !== 'x-forwarded-for')
        translation.config['clientIp'] = `header:${first.toLowerCase()}`
    } else if (
      !/^(?:protocols|timeouts|keepalive_interval|max_header_size|log_credentials|enable_full_duplex|metrics|trusted_proxies_strict|strict_sni_host|listener_wrappers)$/.test(
        name
      )
    )
      translation.missing(line, line.words.join(' '))
  }
}
