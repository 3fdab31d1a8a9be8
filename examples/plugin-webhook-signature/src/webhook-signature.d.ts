import type { Concern } from 'sallyport/kit'

/** The options of "webhookSignature" in the config. */
export interface WebhookSignatureOptions {
  /** Whether it is on for routes that do not mention it. */
  global?: boolean
  /** Whether a refusal stops the request, or is only counted and logged. */
  mode?: 'enforce' | 'report'
  /** The secrets that senders may sign with. */
  secrets?: readonly string[]
  /** The header with the signature, in lower case. */
  header?: string
  /** The text in front of the signature. */
  prefix?: string
  /** The largest body that is read into memory, such as "1mb". */
  maxBody?: string
}

// What defineConfig() of TypeScript users knows of it.
declare module 'sallyport' {
  interface ExtensionOptions {
    webhookSignature?: WebhookSignatureOptions | boolean
  }
}

export const key: 'webhookSignature'
export const options: Concern['options']
export const override: Exclude<Concern['override'], undefined>
export const describes: Exclude<Concern['describes'], undefined>
declare const plugin: Concern['default']
export default plugin
