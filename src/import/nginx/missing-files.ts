import type { Directive } from './parse.ts'
import type { Scope } from './scope.ts'

/** What a location does where there is no file for the path: it forwards, or serves a page. */
export interface MissingFile {
  readonly directive: Directive
  readonly pass: Directive | undefined
  readonly page: string
}

const CHECK = /^\(\s*!-[fe]\s+\$request_filename\s*\)$/
const ANY_PATH = /^\^?\/?(?:\(\.[*+]\)|\.[*+])?\$?$/

/** Returns what a location without a target of its own does by `if (!-f $request_filename)`; undefined for anything but `proxy_pass` or a rewrite of every path to a page. */
export function missingFileOf(scope: Scope): MissingFile | undefined {
  const [directive, ...others] = scope
    .own('if')
    .filter(({ args }) => CHECK.test(args.join(' ').replace(/^\( /, '(').replace(/ \)$/, ')')))
  if (directive === undefined || others.length > 0) return undefined
  if (scope.own('proxy_pass', 'grpc_pass', 'try_files', 'return', 'rewrite').length > 0) return undefined
  const [action, ...rest] = directive.block ?? []
  if (action === undefined || rest.some(({ name }) => name !== 'break')) return undefined
  if (action.name === 'proxy_pass') return { directive, pass: action, page: '' }
  const [pattern = '', page = '', flag = 'last'] = action.args
  return action.name === 'rewrite' &&
    ANY_PATH.test(pattern) &&
    /^\/[^$?]*\.html$/.test(page) &&
    /^(?:last|break)$/.test(flag)
    ? { directive, pass: undefined, page }
    : undefined
}
