import { dataEnv, integer } from '@docmesh/service'

export const env = {
  ...dataEnv,
  concurrency: integer('ANALYSIS_CONCURRENCY', {
    fallback: '4',
    min: 1,
    max: 256,
    doc: 'Analyses that one instance runs at the same time.',
  }),
  leaseMs: integer('ANALYSIS_LEASE_MS', {
    fallback: '3000',
    min: 500,
    max: 600_000,
    doc: 'Milliseconds after which the analyses of an instance that died are taken over.',
  }),
} as const
