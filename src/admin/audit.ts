import { isIP } from 'node:net'
import { defineWarning, type Warning } from '../kit/warning.ts'
import { isLoopbackHost } from '../lib/http/networks.ts'
import type { Settings } from '../process/settings.ts'

const openListener = defineWarning('SP_WARN_ADMIN_OPEN', 'high', 'The admin listener is open to the network')

/** Warns of an admin listener that others than this machine reach, and that wants no token. */
export const adminWarnings = ({
  adminHost,
  adminPort,
  adminToken,
  inherited
}: Pick<Settings, 'adminHost' | 'adminPort' | 'adminToken' | 'inherited'>): Warning[] =>
  adminPort === undefined ||
  adminToken !== undefined ||
  inherited.admin !== undefined ||
  isLoopback(adminHost)
    ? []
    : [
        openListener(
          `Everybody who reaches ${adminHost}:${adminPort} reads metrics, status and the resolved config, because ADMIN_HOST is not this machine alone and there is no ADMIN_TOKEN; set ADMIN_TOKEN`
        )
      ]

const isLoopback = (host: string): boolean => isLoopbackHost(isIP(host) === 6 ? `[${host}]` : host)
