import { isJsonObject, type Json, type JsonObject, listAt, objectAt } from '../json.ts'
import { ImportError, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { addGlobalOptions, type GlobalOptions } from './global-options.ts'
import { namedMatchers } from './matchers.ts'
import { type Line, parseCaddyfile } from './parse.ts'
import { withVariables } from './placeholders.ts'
import { routesOf } from './sites.ts'
import { withImports } from './snippets.ts'

/** Translates a Caddyfile, with the files in its folder that it imports. */
export function translateCaddy(source: SourceText, translation: Translation): void {
  if (/^\s*[{[]\s*["{[\]}]/.test(source.text))
    throw new ImportError(
      `${source.file}: expected a Caddyfile, got JSON; translate the Caddyfile that it was made of`
    )
  const lines = withImports(parseCaddyfile(source), source)
  const [first] = lines
  const hasOptions = first !== undefined && first.words.length === 0 && first.block !== undefined
  const options = addGlobalOptions(hasOptions ? (first.block ?? []) : [], translation)
  const sites = readSites(hasOptions ? lines.slice(1) : lines)
  if (sites.length === 0)
    throw new ImportError(`${source.file}: expected a site such as "example.com { … }", got none`)
  // Caddy compares paths regardless of case.
  translation.config['paths'] = { ignoreCase: true }
  const served = withAddresses(sites, translation)
  for (const site of served) addSite(site, translation)
  addTls(served, options, translation)
  count(lines, translation)
}

/** A site: its addresses, and its directives. */
interface Site {
  readonly line: Line
  readonly addresses: readonly string[]
  readonly block: readonly Line[]
}

/** Reads the sites; a file may have the directives of its only site without braces. */
function readSites(lines: readonly Line[]): Site[] {
  const [first] = lines
  if (first !== undefined && first.block === undefined && lines.length > 1)
    return [{ line: first, addresses: addressesOf(first), block: lines.slice(1) }]
  const sites: Site[] = []
  let before: string[] = []
  for (const line of lines) {
    before.push(...addressesOf(line))
    // Addresses may go on in the next line after a comma.
    if (line.block === undefined) continue
    sites.push({ line, addresses: before, block: line.block })
    before = []
  }
  return sites
}

const addressesOf = ({ words }: Line): string[] =>
  words.flatMap((word) => word.split(',')).filter((word) => word !== '')

interface Addressed extends Site {
  readonly hosts: readonly string[]
  readonly ports: readonly string[]
  readonly isPlain: boolean
}

/** Reads the addresses of sites; leaves out those on other ports, since a gateway has one. */
function withAddresses(sites: readonly Site[], translation: Translation): Addressed[] {
  const read = sites.map((site): Addressed => {
    const parsed = site.addresses.map((address) =>
      /^(?:(https?):\/\/)?((?:\{\$[^}]*\}|[^:/{]|\[[^\]]*\])*)(?::(\d+))?(\/.*)?$/.exec(address)
    )
    const hosts = parsed.map((match) => match?.[2] ?? '')
    const ports = parsed.map((match) => match?.[3] ?? (match?.[1] === 'http' ? '80' : '443'))
    if (parsed.some((match) => match === null || match[4] !== undefined)) {
      translation.missing(site.line, site.addresses.join(', '), listAt(translation.config, 'routes'))
      return { ...site, hosts: [], ports: [], isPlain: true }
    }
    return { ...site, hosts, ports, isPlain: ports.every((port) => port !== '443') }
  })
  const isWeb = read.some(({ ports }) => ports.some((port) => port === '443' || port === '80'))
  const isSecure = read.some(({ ports }) => ports.includes('443'))
  const main = isSecure ? ['443'] : isWeb ? ['80'] : [read[0]?.ports[0] ?? '']
  return read.filter(({ line, ports, addresses }) => {
    const isMain = ports.some((port) => main.includes(port))
    if (!isMain && ports.length > 0)
      translation.missing(
        line,
        `${addresses.join(', ')}: run another gateway for it`,
        listAt(translation.config, 'routes')
      )
    return isMain
  })
}

function addSite({ hosts, block, line }: Addressed, translation: Translation): void {
  const names = hosts
    .map((host) => withVariables(host, translation, 'example.com'))
    .filter((host) => !/^(?:localhost|)$/.test(host))
  const list = listAt(translation.config, 'routes')
  // A matcher of hosts is a group of its own.
  const inner = new Set(
    [...namedMatchers(block, new Map()).values()].flatMap((matcher) => matcher.hosts ?? [])
  )
  if (inner.size > 0)
    translation.comment(
      list,
      `the hosts of the matchers in ${line.file}:${line.line} are groups of their own`
    )
  for (const host of inner) addGroup(list, [host], routesOf(block, host, translation))
  const left = names.filter((host) => !inner.has(host))
  if (left.length > 0 || names.length === 0)
    addGroup(
      list,
      hosts.includes('') || names.length === 0 ? [] : left,
      routesOf(block, undefined, translation)
    )
}

function addGroup(list: Json[], hosts: readonly string[], routes: readonly JsonObject[]): void {
  if (hosts.length === 0) list.push(...routes)
  else list.push({ host: hosts.length === 1 ? (hosts[0] ?? '') : [...hosts], routes: [...routes] })
}

/** Caddy orders certificates for the names of its sites. */
function addTls(
  sites: readonly Addressed[],
  { email, isOff }: GlobalOptions,
  translation: Translation
): void {
  const secure = sites.filter(({ isPlain }) => !isPlain)
  const certificates: Json[] = []
  for (const { block } of secure)
    for (const line of block.filter(({ words }) => words[0] === 'tls')) {
      const [, cert, key] = line.words
      if (cert !== undefined && key !== undefined && !/[{}]/.test(cert + key))
        certificates.push({ cert, key })
      else if (cert !== undefined && !cert.includes('@')) translation.missing(line, line.words.join(' '))
      if (line.block !== undefined) addTlsBlock(line.block, translation)
    }
  if (certificates.length > 0) objectAt(translation.config, 'tls')['certificates'] = certificates
  if (isOff || certificates.length > 0) return
  const domains = [
    ...new Set(
      secure.flatMap(({ hosts }) =>
        hosts.filter(
          (host) =>
            /^[a-z0-9.-]+\.[a-z]{2,}$/i.test(host) && !/\.(?:localhost|local|internal|test)$/.test(host)
        )
      )
    )
  ]
  for (const { line, hosts } of secure)
    if (hosts.some((host) => host.startsWith('*')))
      translation.missing(
        line,
        `a certificate for ${hosts.filter((host) => host.startsWith('*')).join(', ')}`
      )
  if (domains.length === 0) return
  objectAt(translation.config, 'tls')['acme'] = {
    domains,
    ...(email === undefined ? {} : { email }),
    agreeToTerms: true
  }
  objectAt(translation.config, 'tls')['redirectFrom'] = 80
  const tls = translation.config['tls']
  if (isJsonObject(tls)) translation.comment(tls, 'as Caddy does by itself; read the terms of the authority')
}

function addTlsBlock(block: readonly Line[], translation: Translation): void {
  for (const inner of block) {
    if (inner.words[0] !== 'client_auth') {
      if (!/^(?:protocols|ciphers|curves|alpn)$/.test(inner.words[0] ?? ''))
        translation.missing(inner, `tls ${inner.words.join(' ')}`)
      continue
    }
    const ca = (inner.block ?? []).find(({ words }) => words[0] === 'trusted_ca_cert_file')?.words[1]
    const nested = (inner.block ?? [])
      .flatMap(({ block: pool = [] }) => pool)
      .find(({ words }) => words[0] === 'pem_file')?.words[1]
    objectAt(translation.config, 'tls')['clientCertificates'] = {
      ca: ca ?? nested ?? 'clients.pem',
      required: true
    }
  }
}

/** Counts the directives without a note. */
function count(lines: readonly Line[], translation: Translation): void {
  for (const { words, block = [], file, line } of lines) {
    const isNoted = translation.notes.some((note) => note.file === file && note.line === line)
    if (!isNoted && words.length > 0 && block.length === 0) translation.done()
    count(block, translation)
  }
}
