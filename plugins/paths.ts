import type { Comparison, OptionChange } from '../src/kit/concern.ts'
import { fp, gate, perOptions, type Static, Type } from '../src/kit/index.ts'
import { PathAmbiguous, type PathPolicy } from '../src/lib/http/canonical-path.ts'

export const key = 'paths'

export const options = Type.Object(
  {
    mode: gate.mode,
    encodedSlash: Type.Unsafe<'keep' | 'reject' | 'decode'>({
      type: 'string',
      enum: ['keep', 'reject', 'decode'],
      default: 'keep',
      description:
        'How to handle an encoded slash (%2F) in a path: keep it, reject the request with 400, or decode it.'
    }),
    doubleSlash: Type.Unsafe<'keep' | 'reject' | 'merge'>({
      type: 'string',
      enum: ['keep', 'reject', 'merge'],
      default: 'reject',
      description:
        'How to handle an empty segment (//) in a path: keep it, reject the request with 400, or merge the slashes.'
    }),
    ignoreCase: Type.Boolean({
      default: false,
      description: 'Whether routes match paths regardless of case.'
    }),
    ambiguous: Type.Unsafe<'reject' | 'keep'>({
      type: 'string',
      enum: ['reject', 'keep'],
      default: 'reject',
      description:
        'How to handle a path that the upstream may read as one of another route, which bypasses a gate: reject the request with 400, or keep it.'
    })
  },
  {
    additionalProperties: false,
    description:
      'How the path of a request is normalized before routing; at the root only, since the route is not known before.',
    examples: [{ doubleSlash: 'merge' }]
  }
)

export type PathsOptions = Static<typeof options>

export const override = false
export const stateless = true
export const always = true
export const guardsAccess = false
export const pathPolicy = (policy: PathsOptions): PathPolicy => policy

/** How `diff` compares two resolved options: which paths come to routes, and in which form. */
export const comparison: Comparison = {
  changes(before: PathsOptions, after: PathsOptions) {
    const found: OptionChange[] = []
    for (const name of ['mode', 'encodedSlash', 'doubleSlash', 'ambiguous', 'ignoreCase'] as const) {
      if (before[name] === after[name]) continue
      const isStricter = after[name] === 'reject' || after[name] === 'enforce' || after[name] === false
      found.push(
        isStricter
          ? { class: 'narrowed-access', path: [name], message: 'refuses paths that were accepted' }
          : { class: 'widened-access', path: [name], message: 'accepts paths that were refused' }
      )
    }
    return found
  }
}

declare module 'http' {
  interface IncomingMessage {
    /** The error that the path policy would have raised, in report mode. */
    sallyportReported?: Error & { code: string }
  }
}

/**
 * Rejects paths that the upstream may read as one of another route (`ambiguous`), and reports errors of the path
 * policy, which runs before routing, in report mode.
 */
export default fp<PathsOptions>(
  async function paths(app, root) {
    perOptions(
      app,
      key,
      root,
      (_options, route) => {
        const ambiguous = app.ambiguousFor(route)
        if (ambiguous !== undefined)
          return {
            onRequest(request, _reply, done) {
              const { raw } = request
              done(raw.sallyportReported ?? (ambiguous(raw) ? new PathAmbiguous() : undefined))
            }
          }
        if (root.mode !== 'report') return undefined
        return {
          onRequest(request, _reply, done) {
            done(request.raw.sallyportReported)
          }
        }
      },
      (_options, route) => app.ambiguousFor(route)
    )
  },
  { name: key, fastify: '5.x' }
)
