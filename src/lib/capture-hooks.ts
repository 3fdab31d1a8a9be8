import type { FastifyInstance } from 'fastify'

/** The hooks of a third-party plugin, by phase. */
export type Captured = Readonly<Record<string, readonly ((...args: never[]) => unknown)[]>>

/** Registers a third-party plugin without routes, and returns its hooks instead of adding them to every route. */
export async function captureHooks<O>(app: FastifyInstance, plugin: unknown, options: O): Promise<Captured> {
  const hooks: Record<string, ((...args: never[]) => unknown)[]> = {}
  const recorder = Object.create(app) as Record<string, unknown>
  recorder['addHook'] = (phase: string, hook: (...args: never[]) => unknown) => {
    hooks[phase] = [...(hooks[phase] ?? []), hook]
    return recorder
  }
  recorder['options'] = () => recorder
  recorder['decorate'] = (name: string, value: unknown) =>
    app.hasDecorator(name) ? app : app.decorate(name, value)
  recorder['decorateRequest'] = (name: string, value: never) =>
    app.hasRequestDecorator(name) ? app : app.decorateRequest(name, value)
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error): void => (error === undefined || error === null ? resolve() : reject(error))
    const returned: unknown = (
      plugin as (app: unknown, options: O, done: (error?: Error) => void) => unknown
    )(recorder, options, done)
    if (returned instanceof Promise) returned.then(() => resolve(), reject)
  })
  return hooks
}
