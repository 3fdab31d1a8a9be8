import { fp, type PathsOptions, pathsOptions, perOptions } from '../src/kit/index.ts'

export const key = 'paths'
export const options: typeof pathsOptions = pathsOptions
export const override = false
export const always = true

declare module 'http' {
  interface IncomingMessage {
    /** What the policy in report mode would have refused. */
    sallyportReported?: Error & { code: string }
  }
}

/** The refusals themselves come before routing, where the path is read; what is left to do here is to tell of those that report mode let pass. */
export default fp<PathsOptions>(
  async function paths(app, root) {
    if (root.mode !== 'report') return
    perOptions(app, key, root, () => ({
      onRequest(request, _reply, done) {
        done(request.raw.sallyportReported)
      }
    }))
  },
  { name: key, fastify: '5.x' }
)
