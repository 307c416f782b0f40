import type {
  BackupFailed,
  DeploymentFailed,
  DeploymentRollbackStarted,
  JobFailed,
  RestoreFailed,
  SystemHealthChecked,
  SystemRecoveryCompleted,
} from '@docmesh/contracts/ops/v1/events'
import type {
  ServiceDeregistered,
  ServiceRecovered,
  ServiceUnhealthy,
} from '@docmesh/contracts/registry/v1/events'
import { lines, messageOf, nameOf, type Template } from './text.ts'

export const serviceUnhealthy: Template<ServiceUnhealthy> = {
  'pt-BR': ({ service, instanceId, detail }) => ({
    title: `${nameOf(service)}: uma instância não está saudável`,
    body: lines(`Instância: ${nameOf(instanceId)}.`, messageOf(detail)),
  }),
  en: ({ service, instanceId, detail }) => ({
    title: `${nameOf(service)}: an instance is unhealthy`,
    body: lines(`Instance: ${nameOf(instanceId)}.`, messageOf(detail)),
  }),
}

export const serviceRecovered: Template<ServiceRecovered> = {
  'pt-BR': ({ service, instanceId }) => ({
    title: `${nameOf(service)}: a instância se recuperou`,
    body: `Instância: ${nameOf(instanceId)}.`,
  }),
  en: ({ service, instanceId }) => ({
    title: `${nameOf(service)}: the instance has recovered`,
    body: `Instance: ${nameOf(instanceId)}.`,
  }),
}

export const serviceGone: Template<ServiceDeregistered> = {
  'pt-BR': ({ service, instanceId }) => ({
    title: `${nameOf(service)}: a instância que não estava saudável saiu`,
    body: `Instância: ${nameOf(instanceId)}.`,
  }),
  en: ({ service, instanceId }) => ({
    title: `${nameOf(service)}: the instance that was unhealthy is gone`,
    body: `Instance: ${nameOf(instanceId)}.`,
  }),
}

export const healthChecked: Template<SystemHealthChecked> = {
  'pt-BR': ({ check, healthy, detail }) => ({
    title: healthy
      ? `A verificação ${nameOf(check)} voltou a passar`
      : `A verificação ${nameOf(check)} falhou`,
    body: messageOf(detail),
  }),
  en: ({ check, healthy, detail }) => ({
    title: healthy ? `The check ${nameOf(check)} passes again` : `The check ${nameOf(check)} failed`,
    body: messageOf(detail),
  }),
}

export const recoveryFailed: Template<SystemRecoveryCompleted> = {
  'pt-BR': ({ recoveryId, detail }) => ({
    title: 'O sistema não conseguiu se recuperar sozinho',
    body: lines(messageOf(detail), `Recuperação: ${nameOf(recoveryId)}.`),
  }),
  en: ({ recoveryId, detail }) => ({
    title: 'The system could not mend itself',
    body: lines(messageOf(detail), `Recovery: ${nameOf(recoveryId)}.`),
  }),
}

export const jobFailed: Template<JobFailed> = {
  'pt-BR': ({ jobId, type, attempts, error }) => ({
    title: `Um trabalho falhou de vez: ${nameOf(type)}`,
    body: lines(messageOf(error), `Trabalho: ${nameOf(jobId)}; tentativas: ${attempts}.`),
  }),
  en: ({ jobId, type, attempts, error }) => ({
    title: `A job was given up: ${nameOf(type)}`,
    body: lines(messageOf(error), `Job: ${nameOf(jobId)}; attempts: ${attempts}.`),
  }),
}

export const backupFailed: Template<BackupFailed> = {
  'pt-BR': ({ backupId, error }) => ({
    title: 'O backup falhou',
    body: lines(messageOf(error), `Backup: ${nameOf(backupId)}.`),
  }),
  en: ({ backupId, error }) => ({
    title: 'The backup failed',
    body: lines(messageOf(error), `Backup: ${nameOf(backupId)}.`),
  }),
}

export const restoreFailed: Template<RestoreFailed> = {
  'pt-BR': ({ restoreId, backupId, error }) => ({
    title: 'A restauração falhou',
    body: lines(messageOf(error), `Restauração: ${nameOf(restoreId)}; backup: ${nameOf(backupId)}.`),
  }),
  en: ({ restoreId, backupId, error }) => ({
    title: 'The restore failed',
    body: lines(messageOf(error), `Restore: ${nameOf(restoreId)}; backup: ${nameOf(backupId)}.`),
  }),
}

export const deploymentFailed: Template<DeploymentFailed> = {
  'pt-BR': ({ deploymentId, error }) => ({
    title: 'A implantação falhou',
    body: lines(messageOf(error), `Implantação: ${nameOf(deploymentId)}.`),
  }),
  en: ({ deploymentId, error }) => ({
    title: 'The deployment failed',
    body: lines(messageOf(error), `Deployment: ${nameOf(deploymentId)}.`),
  }),
}

export const rollbackStarted: Template<DeploymentRollbackStarted> = {
  'pt-BR': ({ deploymentId, reason }) => ({
    title: 'A nova versão está sendo desfeita',
    body: lines(messageOf(reason), `Implantação: ${nameOf(deploymentId)}.`),
  }),
  en: ({ deploymentId, reason }) => ({
    title: 'The new version is taken back',
    body: lines(messageOf(reason), `Deployment: ${nameOf(deploymentId)}.`),
  }),
}
