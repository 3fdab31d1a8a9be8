import { type JsonObject, listAt, objectAt } from '../json.ts'
import { literal } from '../values.ts'
import type { Handler, Visit } from './evaluate.ts'
import type { Line } from './parse.ts'
import { templateOf, withVariables } from './placeholders.ts'
import { redirectOf, rewriteFrom } from './redirect.ts'
import { reverseProxy } from './reverse-proxy.ts'

const nothing: Handler = (): boolean => false

/** What each directive does; one that is missing here closes its place. */
export const HANDLERS: Readonly<Record<string, Handler>> = {
  reverse_proxy: reverseProxy,
  respond,
  error: respond,
  abort: (_line, _args, { route }) => {
    route['respond'] = { status: 403 }
    return true
  },
  redir(line, args, visit) {
    const redirect = redirectOf(args, visit)
    if (redirect === undefined) visit.doubts.push({ line, text: line.words.join(' ') })
    else visit.route['redirect'] = redirect
    return true
  },
  file_server: fileServer,
  root(_line, args, visit) {
    visit.root = withVariables(args[0] ?? '.', visit.translation, '.')
    return false
  },
  try_files(line, args, visit) {
    const last = args.at(-1) ?? ''
    visit.cleanUrls = args.includes('{path}.html')
    const isSimple = args.slice(0, -1).every((arg) => TRIED.has(arg))
    if (isSimple && /^\/[^{}?]*$/.test(last)) visit.fallback = last
    else if (!isSimple || (last !== '=404' && !TRIED.has(last))) note(line, visit)
    return false
  },
  rewrite(line, args, visit) {
    if (!rewriteFrom(args[0] ?? '', visit)) visit.doubts.push({ line, text: line.words.join(' ') })
    return false
  },
  uri(line, [operation, prefix = '', replacement = ''], visit) {
    const base = visit.base
    const [, from] = /^\^((?:\/[\w-]+)*)\/\(\.\*\)\$?$/.exec(prefix) ?? []
    const [, to] = /^((?:\/[\w-]+)*)\/\$\{?1\}?$/.exec(replacement) ?? []
    if (operation === 'path_regexp' && from !== undefined && to !== undefined) {
      // Of a shorter path, such as that of "handle /*", only a part would change.
      if (base.startsWith(`${from}/`) || (base === from && visit.place.rest === 'below'))
        visit.base = to + base.slice(from.length)
      else visit.doubts.push({ line, text: line.words.join(' ') })
      return false
    }
    const isInside = base === prefix || base.startsWith(`${prefix}/`)
    if (operation !== 'strip_prefix' || /[{}]/.test(prefix))
      visit.doubts.push({ line, text: line.words.join(' ') })
    else if (isInside) visit.base = base.slice(prefix.length)
    return false
  },
  header: (line, args, visit) => changeHeaders(line, args, visit, 'response'),
  request_header: (line, args, visit) => changeHeaders(line, args, visit, 'request'),
  encode({ block: _block }, _args, { route }) {
    route['compress'] = true
    return false
  },
  basic_auth: basicAuth,
  basicauth: basicAuth,
  forward_auth: forwardAuth,
  request_body(line, _args, visit) {
    const size = (line.block ?? []).find(({ words }) => words[0] === 'max_size')?.words[1] ?? ''
    const match = /^(\d+)\s*([KMG]?)i?B$/i.exec(size)
    if (match === null) note(line, visit)
    else objectAt(visit.route, 'limits')['body'] = `${match[1]}${(match[2] ?? '').toLowerCase()}b`
    return false
  },
  templates: (line, _args, visit) => note(line, visit),
  push: (line, _args, visit) => note(line, visit),
  vars: (line, _args, visit) => note(line, visit),
  map: (line, _args, visit) => note(line, visit),
  handle_errors: (line, _args, visit) => note(line, visit),
  log: nothing,
  log_append: nothing,
  log_skip: nothing,
  skip_log: nothing,
  tracing: (line, _args, visit) => note(line, visit),
  tls: nothing,
  bind: (line, _args, visit) => note(line, visit)
}

function note(line: Line, { translation, route }: Visit): boolean {
  translation.missing(line, line.words.join(' '), route)
  return false
}

function respond(line: Line, args: readonly string[], visit: Visit): boolean {
  const isStatus = (text: string | undefined): boolean => /^[1-5]\d\d$/.test(text ?? '')
  const status = Number(args.find((arg) => isStatus(arg)) ?? (line.words[0] === 'error' ? 500 : 200))
  const written =
    args.find((arg) => !isStatus(arg)) ??
    (line.block ?? []).find(({ words }) => words[0] === 'body')?.words[1]
  const body = written === undefined ? undefined : templateOf(written, visit.translation)
  if (written !== undefined && body === undefined) note(line, visit)
  visit.route['respond'] = { status: status < 200 ? 200 : status, ...(body === undefined ? {} : { body }) }
  return true
}

// What "try_files" looks at; the second is the option "cleanUrls".
const TRIED: ReadonlySet<string> = new Set(['{path}', '{path}.html', '{path}/', '{path}/index.html'])

function fileServer(line: Line, args: readonly string[], visit: Visit): boolean {
  const { place, route, base } = visit
  let root = visit.root ?? '.'
  for (const { words } of line.block ?? []) {
    if (words[0] === 'root') root = withVariables(words[1] ?? '.', visit.translation, '.')
    else if (words[0] === 'hide' && !words.slice(1).every((name) => name.startsWith('.')))
      visit.doubts.push({ line, text: words.join(' ') })
    else if (
      !/^(?:index|hide|precompressed|status|disable_canonical_uris|etag_file_extensions)$/.test(
        words[0] ?? ''
      )
    )
      visit.doubts.push({ line, text: words.join(' ') })
  }
  if (args.includes('browse')) visit.translation.missing(line, 'file_server browse', route)
  const path = literal(visit.whole ?? base)
  visit.served = [root, visit.fallback, String(visit.cleanUrls)]
  const at = (folder: string, rest: string): string => `${folder.replace(/\/$/, '')}${rest}`
  if (visit.cleanUrls && place.rest === 'none' && path !== '' && !path.endsWith('/'))
    visit.translation.missing(line, `try_files {path}.html of ${path}`, route)
  if (place.rest === 'partial') visit.doubts.push({ line, text: line.words.join(' ') })
  else if (place.rest === 'none' && path !== '' && !path.endsWith('/'))
    route['files'] = { file: at(root, path) }
  else if (place.rest === 'none') route['files'] = { file: at(root, `${path.replace(/\/$/, '')}/index.html`) }
  else {
    const files: JsonObject = { root: at(root, path) || '/' }
    if (visit.cleanUrls) files['cleanUrls'] = true
    if (visit.fallback?.startsWith(`${base}/`) === true)
      files['fallback'] = literal(visit.fallback.slice(base.length))
    else if (visit.fallback !== undefined)
      visit.translation.missing(line, `try_files … ${visit.fallback}`, route)
    route['files'] = files
  }
  return true
}

/** Translates `header` and `request_header`, on one line or in a block. */
function changeHeaders(
  line: Line,
  args: readonly string[],
  visit: Visit,
  side: 'request' | 'response'
): boolean {
  const changes = args.length > 0 ? [args] : (line.block ?? []).map(({ words }) => words)
  const headers = objectAt(objectAt(visit.route, 'headers'), side)
  for (const words of changes) changeHeader(headers, words, visit, line)
  return false
}

/** Translates a change of one header; a request header whose value can't be told is removed, so that a client can't send it. */
export function changeHeader(
  headers: JsonObject,
  [field = '', value, replacement]: readonly string[],
  visit: Visit,
  line: Line
): void {
  const [, mark = '', name = ''] = /^([+\-?>]?)(.*)$/.exec(field) ?? []
  const key = name.toLowerCase()
  if (key === 'defer' || key === 'match') return
  if (!/^[\w-]+$/.test(key) || replacement !== undefined) {
    visit.translation.missing(line, [field, value, replacement].filter(Boolean).join(' '), visit.route)
    return
  }
  if (mark === '-') {
    headers[key] = false
    return
  }
  const template = templateOf(value ?? '', visit.translation)
  if (template === undefined) visit.translation.missing(line, `${field} ${value}`, visit.route)
  if (template === undefined) headers[key] ??= false
  else if (mark === '+') headers[key] = [...[headers[key] ?? []].flat(), { add: template }]
  else headers[key] = mark === '?' ? { default: template } : template
}

function basicAuth(line: Line, args: readonly string[], visit: Visit): boolean {
  const auth = objectAt(visit.route, 'auth')
  auth['basic'] = true
  const list = listAt(objectAt(auth, 'users'), 'list')
  const users = (line.block ?? []).filter(({ words }) => words.length >= 2)
  if (users.length === 0 || (args[0] !== undefined && !/^(?:bcrypt|argon2id)$/.test(args[0])))
    visit.doubts.push({ line, text: line.words.join(' ') })
  for (const { words } of users) {
    const [name = '', written = ''] = words
    const hash = withVariables(
      /^[A-Za-z0-9+/]+=*$/.test(written) ? Buffer.from(written, 'base64').toString() : written,
      visit.translation,
      EXAMPLE_HASH
    )
    list.push({ name: withVariables(name, visit.translation, `user-${name}`), password: hash })
  }
  if (auth['forward'] !== undefined) auth['by'] = ['basic+forward']
  return false
}

// Of a random password, for the check of the config.
const EXAMPLE_HASH = '$2b$04$1Zq6c3o0yYV2Zr7V2v2bVu8m7jVJx4r6S1mYJp5gKq1Qn3y5c3c2W'

function forwardAuth(line: Line, args: readonly string[], visit: Visit): boolean {
  const [upstream = ''] = args
  const block = line.block ?? []
  const value = (name: string): string | undefined => block.find(({ words }) => words[0] === name)?.words[1]
  const renamed = block.flatMap(({ words: [name, ...fields], block: inner = [] }) =>
    name === 'copy_headers' ? [...fields, ...inner.flatMap(({ words }) => words)] : []
  )
  const unknown = block.filter(
    ({ words: [name = ''] }) => !/^(?:uri|copy_headers|transport|header_up)$/.test(name)
  )
  const auth = objectAt(visit.route, 'auth')
  const forward: JsonObject = {
    upstream: /^https?:\/\//.test(upstream)
      ? withVariables(upstream, visit.translation, 'http://127.0.0.1')
      : `http://${withVariables(upstream, visit.translation, '127.0.0.1')}`,
    path: literal(value('uri') ?? '/')
  }
  if (renamed.length > 0) forward['copy'] = renamed.map((name) => name.toLowerCase())
  auth['forward'] = forward
  if (auth['basic'] !== undefined) auth['by'] = ['basic+forward']
  if (
    args.length !== 1 ||
    unknown.length > 0 ||
    renamed.some((name) => name.includes('>')) ||
    /[{}]/.test(value('uri') ?? '')
  )
    visit.doubts.push({ line, text: line.words.join(' ') })
  return false
}
