import { fp, perOptions } from '../src/kit/index.ts'
import { PathAmbiguous, type PathsOptions, pathsOptions } from '../src/lib/http/canonical-path.ts'

export const key = 'paths'
export const options: typeof pathsOptions = pathsOptions
export const override = false
export const always = true
export const guardsAccess = false

declare module 'http' {
  interface IncomingMessage {
    /** What the policy in report mode would have refused. */
    sallyportReported?: Error & { code: string }
  }
}

/** Refuses paths that the upstream may read as one of another route (`ambiguous`), and reports what the policies on slashes, which come before routing, let pass in report mode. */
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
